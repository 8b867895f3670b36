"""The cache of loaded models: bounded, one user of a model at a time, and nobody hangs."""

from __future__ import annotations

import threading

import pytest

from head_atlas.errors import ModelError
from head_atlas.live import ModelCache


class Loader:
    """Counts loads; a model is a fresh object, which is all that the cache needs of it."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name, progress):
        self.names.append(name)
        if name == "broken":
            raise ModelError("it cannot be loaded")
        if progress:
            progress(f"loading {name}")
        return object()


def test_a_model_is_loaded_once_and_told_about():
    load, said = Loader(), []
    cache = ModelCache(load=load)
    with cache.use("a", progress=said.append) as first:
        pass
    with cache.use("a", progress=said.append) as second:
        pass
    assert first is second
    assert load.names == ["a"]
    assert said == ["loading a"]


def test_the_least_recently_used_model_goes_first():
    load = Loader()
    cache = ModelCache(capacity=2, load=load)
    for name in ("a", "b", "a", "c"):
        with cache.use(name):
            pass
    assert cache.loaded() == ["a", "c"]


def test_a_model_in_use_stays():
    cache = ModelCache(capacity=1, load=Loader())
    with cache.use("a"):
        for name in ("b", "c"):
            with cache.use(name):
                pass
        assert "a" in cache.loaded()
    assert len(cache.loaded()) == 1


def test_a_failed_load_is_told_and_tried_again():
    load = Loader()
    cache = ModelCache(load=load)
    for _ in range(2):
        with pytest.raises(ModelError, match="it cannot be loaded"), cache.use("broken"):
            pass
    assert load.names == ["broken", "broken"]
    assert cache.loaded() == []


def test_a_busy_model_is_an_error_after_the_timeout_and_free_again_later():
    cache = ModelCache(load=Loader())
    outcome: list[str] = []

    def wait():
        try:
            with cache.use("a", timeout=0.05):
                outcome.append("got it")
        except ModelError as error:
            outcome.append(str(error))

    with cache.use("a"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert outcome[0].startswith("'a' is busy")
    wait()
    assert outcome[1] == "got it"


def test_the_lock_is_released_after_an_exception():
    cache = ModelCache(load=Loader())
    with pytest.raises(ZeroDivisionError), cache.use("a"):
        raise ZeroDivisionError
    with cache.use("a", timeout=0.05):
        pass


def test_users_of_one_model_take_turns():
    cache = ModelCache(load=Loader(), timeout=30)
    inside, most = 0, 0

    def run():
        nonlocal inside, most
        for _ in range(50):
            with cache.use("a"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def in_line(cache, name, orders, label):
    """A thread that takes a place in the line; returns it once the place is taken."""
    placed = threading.Event()
    places = []

    def waiting(place):
        places.append(place)
        placed.set()

    def run():
        with cache.use(name, waiting=waiting):
            orders.append(label)

    thread = threading.Thread(target=run)
    thread.start()
    assert placed.wait(30)
    return thread, places


def test_a_model_is_lent_in_the_order_in_which_it_was_asked_for():
    cache, order, threads = ModelCache(load=Loader(), timeout=30), [], []
    with cache.use("a"):
        for label in range(5):
            thread, places = in_line(cache, "a", order, label)
            threads.append(thread)
            assert places[0].ahead == label + 1
            assert places[0].seconds is None  # nobody has given it back yet
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_the_estimated_wait_is_the_places_ahead_times_what_a_run_took():
    cache = ModelCache(load=Loader(), timeout=30)
    with cache.use("a"):
        pass
    held = cache._entries["a"].held
    with cache.use("a"):
        first, _ = in_line(cache, "a", [], 0)
        second, places = in_line(cache, "a", [], 1)
    first.join()
    second.join()
    assert (places[0].ahead, places[0].seconds) == (2, pytest.approx(2 * held))


def test_who_leaves_the_line_is_out_of_it():
    class Gone(Exception):
        pass

    def leave(_):
        raise Gone

    cache, trouble = ModelCache(load=Loader(), timeout=30), []

    def give_up():
        try:
            with cache.use("a", waiting=leave):
                pass
        except Gone as error:
            trouble.append(error)

    with cache.use("a"):
        thread = threading.Thread(target=give_up)
        thread.start()
        thread.join()
        later, places = in_line(cache, "a", [], 0)
    later.join()
    assert len(trouble) == 1
    assert places[0].ahead == 1


def test_a_model_that_could_not_be_loaded_lets_the_next_one_try():
    load = Loader()
    cache = ModelCache(load=load, timeout=30)
    for _ in range(3):
        with pytest.raises(ModelError), cache.use("broken"):
            pass
    assert load.names == ["broken"] * 3
