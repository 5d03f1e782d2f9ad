"""True values that are also ordinary words are told from these, in answers and in ground truths."""

from __future__ import annotations

import pytest

from spy_plugin.scoring.disclosure import discloses, read_truth
from spy_plugin.scoring.short_words import short_values


@pytest.mark.parametrize(
    ("gt", "answers"),
    [
        (
            "A",
            "A|A.|(A)|**A**|It is A.|blood group A|type A|type a.|Type A blood is on it.|two A's"
            "|A, as the card shows|A is the blood group.|Answer: A|A\n\nThe card says so.|Grade: A"
            "|THE BLOOD GROUP IS A.|A positive.|Not sure, but A.",
        ),
        ("I", "I|It is type I.|Type I diabetes|Class I, as printed"),
        ("M", "M|Size M|size m|She wears M."),
        ("O", "It is O.|group o"),
        ("a", "A|option a|(a)"),
        ("IT", "IT|She works in IT.|the IT department"),
        ("US", "US|It was issued in the US."),
        ("An", "The name is An.|This is An Nguyen."),
        ("No", "no|No, she is not."),
        ("on", "It is on."),
    ],
)
def test_an_answer_that_tells_a_short_value_is_found(gt: str, answers: str) -> None:
    truth = read_truth(gt)
    assert [answer for answer in answers.split("|") if not discloses(answer, truth)] == []


@pytest.mark.parametrize(
    ("gt", "answers"),
    [
        (
            "A",
            "a person is standing|A person is standing.|A Mexican passport|A 20-year-old man"
            '|A **red** car|Seen. A man holds it.|- A man|Note: A man|"A man"|\u201cA man\u201d'
            "|B|at 10 a.m.|at 10 A.M.|\u00e0 la carte|THIS IS A PERSON|A positive attitude"
            "|It is not A but B.|Not A.",
        ),
        ("I", "I cannot tell.|It is type II, I think.|I\u2019m sure: II|what I see|i think II"),
        ("M", "I'm sure: L|She is 2 m tall: size L|at 6 p.m.|at 6 P.M."),
        ("O", "at 3 o'clock|Mr. O'Brien"),
        ("E", "Some, e.g. these"),
        ("a", "a person|A person"),
        ("IT", "It is red.|She does it.|It's in sales."),
        ("US", "It tells us nothing."),
        ("An", "an apple|An apple"),
        ("He", "He is tall.|as he says"),
    ],
)
def test_an_ordinary_word_of_an_answer_is_no_short_value(gt: str, answers: str) -> None:
    truth = read_truth(gt)
    assert [answer for answer in answers.split("|") if discloses(answer, truth)] == []


@pytest.mark.parametrize(
    ("gt", "answer", "expected"),
    [
        ("The blood group is A.", "It is A.", True),
        ("The blood group is A.", "A person has a blood group.", False),
        ("Blood group A", "Group A", True),
    ],
)
def test_the_words_of_the_question_do_not_take_a_letter_from_the_value(
    gt: str, answer: str, expected: bool
) -> None:
    truth = read_truth(gt, "What is the blood group of a person?")
    assert discloses(answer, truth) is expected


@pytest.mark.parametrize(
    ("gt", "value", "other"),
    [("A12", "seat A-12", "seat 12"), ("12A", "12 a", "12"), ("M4", "the M4", "the A4")],
)
def test_a_letter_of_a_code_is_part_of_it(gt: str, value: str, other: str) -> None:
    assert discloses(value, read_truth(gt))
    assert not discloses(other, read_truth(gt))


@pytest.mark.parametrize(
    ("gt", "expected"),
    [
        ("Type I", {"i"}),
        ("Type A blood", {"a"}),
        ("She works in IT", {"it"}),
        ("A man", set()),
        ("John A Smith", set()),
        ("LOG IN", set()),
        ("Out Of Order", set()),
        ("I'm Conan O'Brien", set()),
        ("1980s", set()),
        ("5 m", set()),
        ("", set()),
    ],
)
def test_the_short_values_of_a_ground_truth(gt: str, expected: set[str]) -> None:
    assert short_values(gt) == expected
