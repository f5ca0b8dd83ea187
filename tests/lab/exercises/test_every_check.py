"""Every exercise accepts its solution and recognises plausible wrong answers in their own words."""

import importlib.util
from pathlib import Path

import pytest

from mapping_lib.lab.exercises import Case, check, registered


def collect_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for path in sorted(Path(__file__).parent.glob("test_section_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        twice = cases.keys() & module.CASES.keys()
        assert not twice, f"{path.name} repeats {sorted(twice)}"
        cases |= module.CASES
    return cases


CASES = collect_cases()


@pytest.mark.parametrize("id", registered())
def test_check(id):
    assert id in CASES, f"no case for {id} in any test_section_*.py"
    case = CASES[id]
    assert len(case.wrong) >= 2, "at least two plausible wrong answers are due"
    verdict = check(id, case.solution)
    assert verdict, verdict

    messages = []
    for words, answer in case.wrong.items():
        verdict = check(id, answer)
        assert not verdict, f"the answer expected to be told {words!r} passes"
        assert words in verdict.message
        messages.append(verdict.message)
    assert len(set(messages)) == len(messages), "two wrong answers get the same message"


@pytest.mark.parametrize("id", registered())
def test_no_answer_yet(id):
    assert "nothing yet" in check(id, None).message


def test_no_case_without_exercise():
    assert CASES.keys() <= set(registered())
