from tests.coverage_file import ROOT, expected, faults


def test_every_requirement_has_an_entry_and_every_named_test_exists() -> None:
    assert faults((ROOT / "docs" / "coverage.toml").read_text()) == []


def test_a_missing_entry_an_unknown_test_and_an_empty_word_are_found() -> None:
    whole = "\n".join(f'[{requirement}]\nlater = "soon"' for requirement in sorted(expected() - {"A-01"}))
    assert faults(whole) == ["A-01 has no entry"]
    assert faults(whole + '\n[A-01]\ntests = ["tests/common/test_coverage_file.py::test_of_nothing"]') == [
        "A-01: no such test: tests/common/test_coverage_file.py::test_of_nothing"
    ]
    assert faults(whole + '\n[A-01]\nlater = " "') == ["A-01: say it in a sentence"]
