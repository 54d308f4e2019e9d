"""Signals are raised once, held back where work must not be cut in two, and left alone where others handle them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from metarl.base import signals
from metarl.base.signals import Interrupted, held_back, raised_signals, with_remedy

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_raised_as_an_interrupt_with_the_status_of_shells(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in NUMBERS]
    with pytest.raises(KeyboardInterrupt) as caught, raised_signals():
        signal.raise_signal(number)
    assert isinstance(caught.value, Interrupted)
    assert caught.value.status == 128 + number
    assert str(with_remedy(caught.value, "saved")) == f"interrupted by {number.name}; saved"
    assert [signal.getsignal(each) for each in NUMBERS] == before


def test_a_signal_in_held_back_work_comes_after_it() -> None:
    done = []
    with pytest.raises(Interrupted) as caught, raised_signals():
        with held_back():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            done.append("work")
        done.append("too late")
    assert done == ["work"]
    assert caught.value.number == signal.SIGTERM


def test_ctrl_c_in_held_back_work_comes_after_it_without_the_command_line_too() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("work")
        done.append("too late")
    assert done == ["work"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE", -1.0)
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was held back")


def test_a_signal_that_is_sent_twice_counts_once_and_a_later_one_ends_the_process() -> None:
    code = (
        "import os, signal, time\n"
        "from metarl.base.signals import *\n"
        "with raised_signals():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('saved', flush=True)\n"
        "        time.sleep(1.1)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('not reached', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "saved\n")


def test_an_ignored_signal_stays_ignored_as_under_nohup() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised_signals(), held_back():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, old)


def test_a_thread_of_ones_own_handles_no_signals() -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with raised_signals(), held_back():
                pass
        except BaseException as error:
            failed.append(error)

    before = [signal.getsignal(each) for each in NUMBERS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
    assert [signal.getsignal(each) for each in NUMBERS] == before
