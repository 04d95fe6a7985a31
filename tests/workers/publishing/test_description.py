"""The generated part of a description, and what people write around it."""

from __future__ import annotations

from workers.publishing.description import new_description, updated_description

LONGEST = 65_536


def test_the_generated_part_is_replaced_and_the_rest_kept() -> None:
    body = f"Before.\r\n\r\n{new_description('One.', LONGEST)}\r\nAfter."
    again = updated_description(body, "One.\n\nTwo.", LONGEST)
    assert again is not None
    assert again.startswith("Before.\n\n<!--") and again.endswith("-->\nAfter.") and "Two." in again
    assert updated_description(again, "One.", LONGEST) == body.replace("\r\n", "\n")


def test_a_description_without_its_marks_is_let_be() -> None:
    made = new_description("One.", LONGEST)
    assert updated_description("By a person.", "Two.", LONGEST) is None
    assert updated_description(made.rpartition("<!--")[0], "Two.", LONGEST) is None


def test_a_session_that_quotes_a_description_does_not_end_it_early() -> None:
    made = new_description(f"As in {new_description('another', LONGEST)}, but better.", LONGEST)
    assert made.count("<!--") == 2
    assert updated_description(made, "New.", LONGEST) == new_description("New.", LONGEST)


def test_what_people_wrote_is_never_cut() -> None:
    people = "x" * 60_000
    again = updated_description(f"{new_description('One.', LONGEST)}{people}", "y" * 60_000, LONGEST)
    assert again is not None and again.endswith(people) and len(again) <= 65_536
    assert "The rest was left out" in again


def test_the_limit_of_the_forge_counts() -> None:
    assert len(new_description("x" * 60_000, 4_000)) <= 4_000
