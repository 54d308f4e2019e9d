"""Processes that torchrun started: they train one agent together over torch.distributed.

Each rank plays and differentiates its share of an update's tasks. Sums over all ranks make the parameters the same
everywhere, so only rank 0 writes the run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..base.errors import MetarlError, reword
from ..base.ranks import DATA, TENSOR, Exchanged, Ranks, is_launched, numbers_of_all, ranks, training_with
from ..base.text import with_noun
from ..base.versions import versions
from ..runs.config import TrainConfig
from ..trials.agent import TrainableAgent
from .metrics import UNSTABLE

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup as Group
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")
ATTEMPT = "metarl/attempt"
"""Key under which rank 0 names this attempt."""
SECONDS = "METARL_RANK_TIMEOUT"
"""Environment variable with the seconds that a rank waits for the others."""
PATIENCE = 600.0
"""Seconds without that variable."""


class RankLostError(MetarlError):
    """Another rank has ended or does not answer, which ends the training of all."""


class ProcessGroup(Ranks):
    """The ranks of torch.distributed's default group."""

    def __init__(self, rank: int, size: int, patience: float) -> None:
        self.rank, self.size, self.patience = rank, size, patience
        self.group: Group | None = None
        """Processes of torch's default group that it consists of; None: all."""

    def _heard(self, exchange: Callable[[], T], num_bytes: int) -> T:
        """Return what an exchange of bytes gives. Raises RankLostError where another rank does not answer."""
        began, (times, before, seconds) = time.perf_counter(), self.exchanged
        try:
            found = exchange()
            self.exchanged = Exchanged(times + 1, before + num_bytes, seconds + time.perf_counter() - began)
            return found
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> RankLostError:
        late = "timed out" in str(error).lower()
        why = f"did not answer within {self.patience:g} s" if late else "has ended"
        return RankLostError(f"rank {self.rank}: another rank {why}")

    @contextlib.contextmanager
    def exchanging(self) -> Iterator[None]:
        """Raise RankLostError where an exchange that torch makes in the block does not come to its end."""
        import torch.distributed as dist

        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):  # whose errors have no class
                raise
            raise self._lost(error) from error

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` [n] over all ranks: the same bits in each."""
        import torch.distributed as dist

        summed = values.detach().clone()
        self._heard(lambda: dist.all_reduce(summed, group=self.group), summed.nbytes)
        return summed

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all ranks, as the bytes of .npy files that hold no objects."""
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        return [np.load(io.BytesIO(data), allow_pickle=False) for data in self._gather_bytes(file.getvalue())]

    def _gather_bytes(self, data: bytes) -> list[bytes]:
        import torch
        import torch.distributed as dist

        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        self._heard(lambda: dist.all_gather(lengths, torch.tensor([len(data)]), group=self.group), 8)
        longest = max(int(length) for length in lengths)
        padded = torch.frombuffer(bytearray(data.ljust(longest, b"\0")), dtype=torch.uint8)
        found = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        self._heard(lambda: dist.all_gather(found, padded, group=self.group), longest)
        return [each.numpy().tobytes()[: int(length)] for each, length in zip(found, lengths, strict=True)]

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes that rank 0 gives."""
        return self._gather_bytes(data if self.rank == 0 else b"")[0]


class MeshRanks(ProcessGroup):
    """The ranks of a mesh that have other tasks than this one, and stand where it does on the other axis."""

    def __init__(self, world: Ranks, mesh: DeviceMesh) -> None:
        super().__init__(mesh.get_local_rank(DATA), mesh[DATA].size(), _patience())
        self.world, self.group = world, mesh.get_group(DATA)

    @property
    def leads(self) -> bool:
        """Whether this process writes: one of the whole mesh does."""
        return self.world.leads

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes that the rank gives that leads all of the mesh."""
        return self.world.broadcast(data)


@contextlib.contextmanager
def dividing(config: TrainConfig) -> Iterator[DeviceMesh | None]:
    """Give the mesh of processes that divide the network, in the block; None where `parallel` asks for none.

    Raises MetarlError unless as many were started.
    """
    parallel, world = config.parallel, ranks()
    if parallel is None or (number := parallel.data * parallel.tensor) == 1:
        yield None
        return
    if world.size != number:
        raise MetarlError(
            f"parallel asks for {parallel.data} x {parallel.tensor} processes, and {with_noun(world.size, 'process')} "
            f"{'trains' if world.size == 1 else 'train'}; start {number}, such as by --workers {number}"
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.distributed_c10d import _set_pg_timeout

    device = "cuda" if config.device == "cuda" or (config.device == "auto" and _has_nccl()) else "cpu"
    mesh = init_device_mesh(device, (parallel.data, parallel.tensor), mesh_dim_names=(DATA, TENSOR))
    for axis in (DATA, TENSOR):  # a mesh takes torch's time of half an hour
        _set_pg_timeout(timedelta(seconds=_patience()), mesh.get_group(axis))
    with training_with(MeshRanks(world, mesh)):
        yield mesh


@contextlib.contextmanager
def joined() -> Iterator[Ranks | None]:
    """Train with the ranks that torchrun started, in the block; None, and alone, without any.

    Errors name the rank. Raises MetarlError where the ranks do not find each other.
    """
    if not is_launched():
        yield None
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # torch would print a stack before an error that we tell
    import torch.distributed as dist

    take_device()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    patience = _patience()
    try:
        backend = "cpu:gloo,cuda:nccl" if _has_nccl() else "gloo"
        store = _own_store(rank, size, patience)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=patience))
    except (RuntimeError, ValueError) as error:
        why = str(error).split("\n", 1)[0]
        raise MetarlError(
            f"rank {rank} of {size} found no others at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} "
            f"({why}); give torchrun the same --rdzv-endpoint on every machine"
        ) from None
    group = ProcessGroup(rank, size, patience)
    try:
        with training_with(group):
            yield group
    except RankLostError as error:
        # Rank 0 tells what is saved; the rank that was lost told why.
        raise (error if rank == 0 else RankLostError("")) from None
    except MetarlError as error:
        raise reword(error, f"rank {rank}: {error}") from error.__cause__
    finally:
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def take_device() -> None:
    """Let this process see one GPU of the machine, so that `cuda` is another one in each of its ranks."""
    import torch

    count = torch.cuda.device_count()  # which does not start CUDA: then it would be too late
    if count > 1:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[int(os.environ.get("LOCAL_RANK", "0")) % count]


def _own_store(rank: int, size: int, patience: float) -> Store:
    """Return a store of the ranks of this attempt alone.

    torchrun keeps one store over its restarts, with the addresses of lost processes in it, and each machine counts
    restarts by itself. So rank 0 names the attempt, and each rank waits until rank 0 has heard it under that name.
    Raises RuntimeError when that takes longer than `patience`, in seconds.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", rank, size, timeout=timedelta(seconds=patience)))[0]
    store.set_timeout(timedelta(seconds=patience))
    own, deadline = uuid.uuid4().hex, time.monotonic() + patience
    if rank == 0:
        store.set(ATTEMPT, own)
        for other in range(1, size):
            store.set(f"{own}/{other}/heard", store.get(f"{own}/{other}").decode())
        return PrefixStore(own, store)
    while time.monotonic() < deadline:
        attempt = store.get(ATTEMPT).decode()  # that of a lost rank 0 until the new one has named its own
        store.set(f"{attempt}/{rank}", own)
        heard = f"{attempt}/{rank}/heard"
        if store.check([heard]) and store.get(heard).decode() == own:
            return PrefixStore(attempt, store)
        time.sleep(0.02)
    raise RuntimeError(f"rank 0 did not answer within {patience:g} s")


def _has_nccl() -> bool:
    import torch
    import torch.distributed as dist

    return torch.cuda.is_available() and dist.is_nccl_available()


def _patience() -> float:
    text = os.environ.get(SECONDS, "")
    try:
        seconds = float(text or PATIENCE)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e7:
        raise MetarlError(f"{SECONDS} is {text!r}; it must be seconds above 0")
    return seconds


@contextlib.contextmanager
def leading() -> Iterator[Callable[[bytes], object]]:
    """Give a function that tells the other ranks what they begin with. They end where the block ends without it."""
    told: list[bytes] = []

    def tell(data: bytes) -> None:
        told.append(ranks().broadcast(data))

    try:
        yield tell
    finally:
        if not told:
            with contextlib.suppress(RankLostError):
                ranks().broadcast(b"")


def require_shareable(agent: TrainableAgent, config: TrainConfig) -> None:
    """Raise MetarlError unless the ranks can share the updates of an agent."""
    name, size = config.agent["name"], ranks().size
    if size > 1 and not agent.sums_over_ranks:
        raise MetarlError(f"agent {name!r} is trained by one process, and {size} were started; start one")
    if config.meta_batch_size < size:
        raise MetarlError(
            f"meta_batch_size is {config.meta_batch_size}, and {size} processes were started: each needs a task; start "
            "fewer, or raise meta_batch_size"
        )


def mean_metrics(metrics: Mapping[str, float], num_tasks: int) -> dict[str, float]:
    """Return the means of metrics over the tasks of all ranks, of which this one has `num_tasks`.

    Counts of episodes (`unstable_episodes`) are added up.
    """
    if ranks().size == 1:
        return dict(metrics)
    rows = numbers_of_all([num_tasks, *metrics.values()])
    means = rows[:, 0] @ rows[:, 1:] / rows[:, 0].sum()
    found = dict(zip(metrics, means.tolist(), strict=True))
    if UNSTABLE in found:
        found[UNSTABLE] = float(rows[:, 1 + list(metrics).index(UNSTABLE)].sum())
    return found


def require_alike(config: TrainConfig) -> None:
    """Raise MetarlError, which names a rank, unless all ranks have the same config and the same versions."""
    group = ranks()
    if group.size == 1:
        return
    facts = {**config.model_dump(mode="json"), **{f"version of {name}": each for name, each in versions().items()}}
    own = json.dumps(facts, sort_keys=True).encode()
    theirs = [bytes(data).decode() for data in group.gather(np.frombuffer(own, dtype=np.uint8))]
    first = json.loads(theirs[0])
    for rank, text in enumerate(theirs):
        found = json.loads(text)
        for name in first:
            if found.get(name) != first[name]:
                raise (MetarlError if group.rank == 0 else RankLostError)(
                    f"{name} of rank {rank} is {found.get(name)!r}, that of rank 0 {first[name]!r}; start all ranks "
                    "with the same command and the same packages"
                )
