"""The queue of pictures: shares, deaths, suspects."""

from __future__ import annotations

from pathlib import Path

from spy_plugin.data.pictures import PictureBytes
from spy_plugin.models.base import Conversation
from spy_plugin.models.on_ray.work import WorkQueue, grouped


def queue(pictures: int, engines: int = 1) -> WorkQueue:
    made = WorkQueue()
    talks = [
        Conversation(f"{number}-{ask}", Path(f"{number}.png"), ("?",))
        for number in range(pictures)
        for ask in range(2)
    ]
    made.add(grouped(talks))
    made.expect(engines)
    return made


def round_of(made: WorkQueue, engine: int) -> list[str]:
    """The pictures that an engine gets in its next round."""
    made.begin(engine)
    found = []
    while (talks := made.take(engine, 0)) is not None:
        found.append(talks[0].key[0])
    return found


KEYS = {f"{number}-{ask}" for number in range(8) for ask in range(2)}


def test_conversations_without_a_picture_are_handed_out_by_the_dozen() -> None:
    talks = [Conversation(str(number), None, ("?",)) for number in range(70)]
    assert [len(group.conversations) for group in grouped(talks)] == [32, 32, 6]


def test_an_engine_takes_its_share_and_leaves_the_rest() -> None:
    made = queue(6, engines=2)
    assert round_of(made, 1) == ["0", "1", "2"]  # the other one is still loading
    assert round_of(made, 1) == ["3", "4"]
    assert round_of(made, 2) == ["5"]
    assert not made.begin(2)


def test_an_engine_with_room_does_not_pause_while_much_waits() -> None:
    made = queue(8, engines=2)
    made.begin(1)
    made.begin(2)
    taken = []
    for turn in range(8):  # each answers what it has before it asks for more
        engine = 1 + turn % 2
        talks = made.take(engine, 2 * (turn // 2))
        taken.append(talks[0].key if talks else None)
    assert taken == [f"{number}-0" for number in range(8)]
    assert made.take(1, 8) is None


def test_a_picture_travels_as_bytes_and_a_missing_one_as_its_name(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"picture")
    made = WorkQueue()
    made.add(grouped(Conversation(n, tmp_path / f"{n}.png", ("?",)) for n in "01"))
    made.begin(1)
    first, second = made.take(1, 0), made.take(1, 0)
    assert first is not None
    assert second is not None
    assert first[0].image == PictureBytes(str(tmp_path / "0.png"), b"picture")
    assert second[0].image == tmp_path / "1.png"


def test_what_a_dead_engine_left_comes_first_and_without_what_it_answered() -> None:
    made = queue(4, engines=2)
    assert round_of(made, 1) == ["0", "1"]
    assert made.give_back(1, KEYS - {"0-0", "0-1", "1-0"}) == []
    made.expect(1)
    made.begin(2)
    assert [talk.key for talk in made.take(2, 0) or ()] == ["2-0", "2-1"]
    assert [talk.key for talk in made.take(2, 0) or ()] == ["3-0", "3-1"]
    # It was alone in hand, so it may be to blame: it comes last, and alone.
    assert made.take(2, 0) is None
    made.begin(2)
    assert [talk.key for talk in made.take(2, 0) or ()] == ["1-1"]


def test_pictures_of_two_deaths_are_asked_alone_and_only_the_guilty_one_fails() -> None:
    made = queue(3)
    assert round_of(made, 1) == ["0", "1", "2"]
    assert made.give_back(1, KEYS) == []
    assert round_of(made, 2) == ["0", "1", "2"]
    assert made.give_back(2, KEYS) == []
    assert round_of(made, 3) == ["2"]
    assert round_of(made, 3) == ["1"]
    assert round_of(made, 3) == ["0"]
    assert made.give_back(3, KEYS) == ["0-0", "0-1"]
    assert not made.begin(4)


def test_a_node_that_leaves_blames_no_picture() -> None:
    made = queue(1)
    for engine in range(1, 4):
        assert round_of(made, engine) == ["0"]
        assert made.give_back(engine, KEYS, blame=False) == []
    assert round_of(made, 4) == ["0"]
