"""The parts of the Ray engine that move bytes: frames, what waits to be sent, and files in pieces."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from forge_tui.engines.ray.frames import FrameBuffer, Message, decode, encode
from forge_tui.engines.ray.outbox import BULK_BYTES, Outbox
from forge_tui.engines.ray.outgoing import PIECE_BYTES, Outgoing


@pytest.mark.parametrize("size", [1, 3, 7, 1 << 20])
def test_frames_come_whole_however_they_are_cut(size: int) -> None:
    frames = [({"n": 1}, b""), ({"n": 2, "text": "é\n"}, bytes(range(256)) * 3), ({}, b"\0")]
    whole = b"".join(encode(*frame) for frame in frames)
    buffer = FrameBuffer()
    found = [frame for start in range(0, len(whole), size) for frame in buffer.feed(whole[start : start + size])]
    assert found == frames


def test_a_frame_that_is_cut_off_never_comes() -> None:
    assert decode(encode({"n": 1}, b"data")[:-1]) == []


def test_what_is_no_frame_is_refused_and_not_waited_for() -> None:
    with pytest.raises(ValueError, match="the longest has"):
        decode(b"\xff" * 8)


def test_a_message_overtakes_bulk_and_a_batch_has_a_limited_part_of_it() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put({"bulk": number}, b"x" * (BULK_BYTES - 100), is_bulk=True)
    outbox.put({"n": 1})
    assert [message for message, _ in decode(outbox.take())] == [{"n": 1}, {"bulk": 0}]
    outbox.put({"n": 2})
    assert [message for message, _ in decode(outbox.take())] == [{"n": 2}, {"bulk": 1}]
    assert [message for message, _ in decode(outbox.take())] == [{"bulk": 2}]
    assert (outbox.take(), outbox.bulk_bytes) == (b"", 0)


def test_the_source_is_asked_only_when_no_other_bulk_waits_and_until_it_has_nothing() -> None:
    outbox = Outbox()
    pieces = [encode({"piece": 2}), encode({"piece": 1})]
    outbox.source = lambda: pieces.pop() if pieces else None
    outbox.put({"bulk": 1}, b"x", is_bulk=True)
    outbox.poke()
    found = [[message for message, _ in decode(outbox.take())] for _ in range(4)]
    assert found == [[{"bulk": 1}], [{"piece": 1}], [{"piece": 2}], []]


def test_whoever_waits_gets_what_comes_at_once() -> None:
    outbox = Outbox()
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(outbox.take(60.0)))
    waiting.start()
    outbox.put({"n": 1})
    waiting.join(30.0)
    assert found == [encode({"n": 1})]


def _frames(outgoing: Outgoing) -> list[tuple[Message, bytes]]:
    found = []
    while (frame := outgoing.next_frame()) is not None:
        found += decode(frame)
    return found


def test_a_file_comes_in_pieces_and_its_message_with_the_last(tmp_path: Path) -> None:
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"the rest"
    (tmp_path / "f").write_bytes(content)
    outgoing = Outgoing()
    assert outgoing.add(5, tmp_path / "f", "checkpoints/m/f", {"a": "says"})
    (tmp_path / "f").unlink()  # pruned meanwhile
    frames = _frames(outgoing)
    assert b"".join(data for _, data in frames) == content
    assert [message["offset"] for message, _ in frames] == [0, PIECE_BYTES]
    assert [message.get("then") for message, _ in frames] == [None, {"a": "says"}]


def test_an_empty_file_is_sent_too_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    outgoing = Outgoing()
    assert outgoing.add(1, tmp_path / "f", "f", {"a": "says"})
    assert not outgoing.add(1, tmp_path / "none", "none", {})
    assert _frames(outgoing) == [({"a": "file", "w": 1, "path": "f", "offset": 0, "then": {"a": "says"}}, b"")]


def test_workers_take_turns_and_each_ones_messages_stay_behind_its_files(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (3 * PIECE_BYTES))
    (tmp_path / "small").write_bytes(b"y")
    outgoing = Outgoing()
    outgoing.add(1, tmp_path / "large", "large", {})
    outgoing.add(2, tmp_path / "small", "small", {})
    outgoing.add(1, None, "", {"a": "ended", "w": 1})
    outgoing.add(2, None, "", {"a": "ended", "w": 2})
    order = [(message["a"], message["w"]) for message, _ in _frames(outgoing)]
    assert order == [
        ("file", 1), ("file", 2), ("file", 1), ("ended", 2), ("file", 1), ("ended", 1),
    ]  # fmt: skip


def test_of_checkpoints_that_wait_only_the_newest_is_sent(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).write_bytes(name.encode() * (PIECE_BYTES + 1))
    outgoing = Outgoing()
    outgoing.add(1, tmp_path / "1", "1", {"step": 1}, replaces="m")
    first = decode(outgoing.next_frame() or b"")  # it is on its way
    outgoing.add(1, tmp_path / "2", "2", {"step": 2}, replaces="m")
    outgoing.add(1, tmp_path / "3", "3", {"step": 3}, replaces="m")
    steps = [message["then"]["step"] for message, _ in [*first, *_frames(outgoing)] if "then" in message]
    assert steps == [1, 3]
