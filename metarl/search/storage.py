"""Where a study is kept: Optuna's storage, and the lock of the study's folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study

from ..base.errors import MetarlError, first_line
from ..base.files import lock, path_inside, write_atomically
from .plan import Plan

DATABASE, LOCK, OWNER = "study.db", "study.lock", "owner.txt"
"""Files in a study's folder: the storage unless another is asked for, the lock, and the name that trials know it by."""
DEFINITION = "metarl"
"""Attribute of a study with what defines it."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from running the study in a folder, which is made. Raises MetarlError where one does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path_inside(folder, LOCK), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise MetarlError(f"{folder} cannot be written ({error.strerror}); take another --study DIR") from None
    try:
        if not lock(descriptor):
            raise MetarlError(
                f"study {folder} is being run by another process; wait for it or stop it, or join its --storage from "
                "another --study DIR"
            )
        yield
    finally:
        os.close(descriptor)


def owner_of(folder: Path) -> str:
    """Return the name by which trials know the folder that has their runs."""
    path = path_inside(folder, OWNER)
    if not path.exists():
        write_atomically(path, f"{secrets.token_hex(8)}\n".encode())
    return path.read_text(encoding="utf-8").strip()


def open_study(plan: Plan) -> Study:
    """Return a new study, or the one that is there. Raises MetarlError if that is another one or cannot be read."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    where = plan.storage_title
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=_storage(plan), study_name=plan.name, direction="maximize", load_if_exists=True
            )
        began = study.user_attrs.get(DEFINITION)
        if began is None:
            study.set_user_attr(DEFINITION, plan.definition)
    except Exception as error:  # databases and their drivers raise errors of their own
        raise MetarlError(
            f"{where} cannot be opened as a study: {first_line(error)}; restore it from a copy, or take another"
        ) from None
    if began is not None:
        plan.require_same(began)
    study.pruner = plan.make_pruner()
    return study


def _storage(plan: Plan) -> BaseStorage:
    if plan.storage is None:
        # As in a URL: a question mark in a folder's name would begin options.
        return RDBStorage(f"sqlite:///{quote(str(path_inside(plan.folder, DATABASE).absolute()))}")
    if "://" in plan.storage:
        return RDBStorage(plan.storage)
    return JournalStorage(JournalFileBackend(plan.storage))
