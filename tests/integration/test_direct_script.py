from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from notifications.recorder import DirectScript
from sandbox.local import LocalRedis

ECHO = "return {KEYS[1], ARGV[1]}"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis() as started:
        yield started


def test_threads_that_call_at_once_get_their_own_answers(server: LocalRedis) -> None:
    script = DirectScript(server.url, ECHO, 5)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: script("key", str(number)), range(400)))
    assert answers == [[b"key", str(number).encode()] for number in range(400)]
    script.close()


def test_an_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_call(server: LocalRedis) -> None:
    script = DirectScript(server.url, ECHO, 0.2)
    assert script("key", "first") == [b"key", b"first"]
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(redis.TimeoutError):
            script("key", "late")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    # a loaded machine may let the first ones time out, too
    for number in range(50):
        try:
            assert script("key", str(number)) == [b"key", str(number).encode()]
            break
        except redis.TimeoutError:
            continue
    else:
        pytest.fail("the server did not answer again")
    script.close()


def test_a_server_that_forgot_the_script_is_given_it_again(server: LocalRedis) -> None:
    script = DirectScript(server.url, ECHO, 5)
    script("key", "first")
    with redis.Redis.from_url(server.url) as client:
        client.script_flush()
    assert script("key", "second") == [b"key", b"second"]
    script.close()


def test_a_connection_that_died_while_idle_is_replaced_and_an_error_of_the_script_is_not_tried_again(
    server: LocalRedis,
) -> None:
    script = DirectScript(server.url, "redis.call('INCR', KEYS[1]) if ARGV[1] == 'no' then error('no') end", 5)
    script("calls", "yes")
    with redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
        script("calls", "yes")
        with pytest.raises(redis.ResponseError):
            script("calls", "no")
        script("calls", "yes")
        assert client.get("calls") == b"4"
    script.close()


def test_a_forked_process_has_a_connection_of_its_own(server: LocalRedis) -> None:
    script = DirectScript(server.url, ECHO, 5)

    def connections() -> int:
        with redis.Redis.from_url(server.url) as client:
            return len(client.client_list())

    script("key", "parent")
    before = connections()
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = script("key", "child")
        os.write(writable, str(connections() if answer == [b"key", b"child"] else answer).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert int(os.read(readable, 100)) == before + 1
    assert script("key", "parent") == [b"key", b"parent"]
    os.close(readable)
    os.close(writable)
    script.close()
