"""The vectors: their form, what derives them again, what makes them, and what would notice if one were wrong."""

from __future__ import annotations

import copy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.oracle import Oracle, OracleError, why_unavailable
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_keys import OracleKeys
from tests.support.oracle_values import OracleAddress
from vectors.__main__ import main
from vectors.check import check
from vectors.files import FOLDER, InvalidFile, VectorFile, dump, load, load_all
from vectors.generate import GENERATORS
from vectors.live import libsignal_on_forgeries
from vectors.reference.expectations import Mismatch
from vectors.reference.faults import Fault
from vectors.reference.replay_conversation import Conversation
from vectors.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SIZE_MAX: Final = 6_000_000  # bytes of everything in vectors/: a checkout stays small
SLOW: Final = ("conversation_limits.json", "rejects.json", "sender_keys.json", "spqr.json")
FILES: Final = {file.name: file for file in load_all()}
KINDS: Final = sorted({file.kind for file in FILES.values()})
Json = dict[str, Any]


def _all_files() -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FILES]


def _steps(content: Json) -> Iterator[Json]:
    for group in content["groups"]:
        yield from group.get("steps", [])
        for test in group["tests"]:
            yield from test.get("steps", [])


# Right vectors


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_its_schemas_form_and_explains_its_flags(name: str) -> None:
    FILES[name].validate()


@pytest.mark.parametrize("name", _all_files())
def test_the_reference_derives_every_vector_again(name: str) -> None:
    verify(FILES[name].content)


@pytest.mark.parametrize("name", _all_files())
def test_ratchet_makes_reads_and_refuses_what_the_vectors_say(name: str) -> None:
    assert check(FILES[name].content) > 0


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.__name__.rsplit(".", 1)[-1])
def test_making_the_vectors_again_gives_the_same_bytes(generator: ModuleType) -> None:
    for name, content in generator.files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == dump(content)


def test_the_verifier_runs_without_our_packages() -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vectors.__main__ import main\n"
        "code = main(['verify', 'vectors/handshake.json', 'vectors/libsignal/conversation_older.json'])\n"
        "ours = {name.partition('.')[0] for name in sys.modules} & {'ratchet', 'store', 'e2ee'}\n"
        "sys.exit(code or bool(ours))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=FOLDER.parent, capture_output=True)


def test_the_folder_stays_small() -> None:
    files = (path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert sum(path.stat().st_size for path in files) < SIZE_MAX


# What the vectors cover


def test_every_fault_is_in_a_vector_and_in_the_readme() -> None:
    stated = {
        test["fault"]
        for file in FILES.values()
        for group in file.content["groups"]
        for test in group["tests"]
        if "fault" in test
    }
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    explained = {fault.label for fault in Fault if f"| `{fault.label}` | `{fault.error}` | {fault.meaning} |" in readme}

    assert stated == explained == {fault.label for fault in Fault}


def test_every_kind_is_in_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert all(f"**`{kind}`**." in readme for kind in KINDS)


def test_both_sides_pass_through_all_eleven_states_of_the_braid() -> None:
    states: dict[str, set[str]] = {"a": set(), "b": set()}
    for step in _steps(FILES["spqr.json"].content):
        if "state" in step:
            states[step["by"]].add(step["state"])

    assert len(states["a"]) == len(states["b"]) == 11


def test_repair_chunks_and_a_wrapped_chunk_index_are_among_the_messages() -> None:
    indices = [_chunk_index(step["message"]) for step in _steps(FILES["spqr.json"].content) if step["do"] == "send"]
    known = [index for index in indices if index is not None]

    assert sum(36 <= index < 65_536 for index in known) > 10
    assert [65_535, 0] in [list(pair) for pair in pairwise(known)]


def _chunk_index(message: str) -> int | None:
    data = bytes.fromhex(message)
    values, position = [], 1
    for _ in range(4):
        value = shift = 0
        while position < len(data):
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        values.append(value)
    return values[3] if len(data) > 32 else None


@pytest.mark.parametrize("name", ["conversation_epochs.json", "libsignal/conversation.json"])
def test_long_conversations_complete_at_least_two_post_quantum_epochs(name: str) -> None:
    tests = [test for group in FILES[name].content["groups"] for test in group["tests"] if "Epochs" in test["flags"]]
    completed = []
    for test in tests:
        conversation = Conversation(test["parties"])
        conversation.run(test["steps"])
        ratchets = [session.ratchet.post_quantum for session in conversation.sessions.values()]
        completed += [ratchet.chains.epoch for ratchet in ratchets if ratchet is not None]

    assert len(tests) > 1
    assert min(completed) >= 2


# Wrong vectors


def _changed(file: VectorFile) -> VectorFile:
    """Return a copy with only the last valid test that states an output, and one digit of the output another."""
    content = copy.deepcopy(file.content)
    group, test = [
        (group, test)
        for group in content["groups"]
        for test in group["tests"]
        if test["result"] == "valid" and _outputs(test)
    ][-1]
    place, name = _outputs(test)[-1]
    text = place[name]
    place[name] = text[:-1] + ("0" if text[-1] != "0" else "1")
    return VectorFile(file.path, {**content, "groups": [{**group, "tests": [test]}]})


def _outputs(test: Json) -> list[tuple[Json, str]]:
    """Return where a test states what must come out."""
    places = [test, test.get("output", {}), test.get("secrets", {}), *test.get("steps", [])]
    names = {"signature", "digits", "body", "message", "key", "chain_key", "root_key", "mac"}
    outputs = [(place, name) for place in places for name in place if name in names and isinstance(place[name], str)]
    return [] if test.get("op") == "verify" else outputs


CHANGED: Final = ("xeddsa", "kdf_chain", "handshake", "conversation_older", "spqr", "sender_keys", "safety_number")


@pytest.mark.parametrize("name", CHANGED)
def test_the_reference_notices_one_wrong_digit(name: str) -> None:
    file = _changed(FILES[f"{name}.json"])

    with pytest.raises(Mismatch):
        verify(file.content)


@pytest.mark.parametrize("name", [name for name in CHANGED if name != "kdf_chain"])
def test_the_check_of_ratchet_notices_one_wrong_digit(name: str) -> None:
    file = _changed(FILES[f"{name}.json"])

    with pytest.raises(Mismatch):
        check(file.content)


def _one_refusal() -> Json:
    """Return a small file with one refused signature."""
    content = copy.deepcopy(FILES["xeddsa.json"].content)
    refused = [test for group in content["groups"] for test in group["tests"] if test["result"] == "invalid"]
    return {**content, "groups": [{"comment": "one", "tests": refused[:1]}]}


@pytest.mark.parametrize(
    "change",
    [
        {"fault": "mac"},
        {"error": "MalformedMessage"},
        {"result": "valid", "fault": None, "error": None},
    ],
    ids=["another fault", "another class of error", "no fault"],
)
def test_the_reference_notices_a_refusal_for_another_reason(change: Json) -> None:
    content = _one_refusal()
    test = content["groups"][0]["tests"][0] | change
    content["groups"][0]["tests"] = [{name: value for name, value in test.items() if value is not None}]

    with pytest.raises(Mismatch):
        verify(content)


@pytest.mark.parametrize("change", [{"error": "MalformedMessage"}, {"result": "valid"}])
def test_the_check_of_ratchet_notices_a_refusal_of_another_class(change: Json) -> None:
    content = _one_refusal()
    content["groups"][0]["tests"][0] |= change

    with pytest.raises(Mismatch):
        check(content)


def test_a_file_with_a_field_that_no_schema_knows_is_refused() -> None:
    content = _one_refusal()
    content["groups"][0]["tests"][0]["surprise"] = 1

    with pytest.raises(InvalidFile, match="surprise"):
        VectorFile(FOLDER / "changed.json", content).validate()


def test_an_invalid_test_without_a_fault_is_refused() -> None:
    content = _one_refusal()
    del content["groups"][0]["tests"][0]["fault"]

    with pytest.raises(InvalidFile, match="fault"):
        VectorFile(FOLDER / "changed.json", content).validate()


def test_a_flag_that_is_not_explained_is_refused() -> None:
    content = {**FILES["xeddsa.json"].content, "flags": {}}

    with pytest.raises(InvalidFile, match="flags"):
        VectorFile(FOLDER / "changed.json", content).validate()


# The command


def test_the_command_prints_a_table_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["all", str(FOLDER / "safety_number.json")])

    assert code == 0
    line = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("safety_number.json"))
    count = str(FILES["safety_number.json"].test_count)
    assert line[1:5] == ["safety_number", count, count, count]


def test_the_command_fails_and_says_where_for_a_wrong_vector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.json"
    content = copy.deepcopy(FILES["safety_number.json"].content)
    content["groups"][0]["tests"][0]["digits"] = "0" * 60
    path.write_text(dump(content), encoding="utf-8")

    assert main(["verify", str(path)]) == 1
    assert "digits: derived" in capsys.readouterr().out


def test_what_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    for name, file in FILES.items():
        path = tmp_path / Path(name).name
        path.write_text(dump(file.content), encoding="utf-8")
        assert load(path).content == file.content


# Libsignal as the judge


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Oracle() as running:
        yield running


def test_libsignal_reads_and_refuses_the_forged_messages_as_the_vectors_say(oracle: Oracle) -> None:
    verdicts = list(libsignal_on_forgeries(oracle))

    assert [comment for comment, should_read, did_read in verdicts if should_read != did_read] == []
    assert sum(not should_read for _, should_read, _ in verdicts) > 90


def test_libsignal_reads_and_refuses_the_sender_key_messages_as_the_vectors_say(oracle: Oracle) -> None:
    different = []
    for group in FILES["sender_keys.json"].content["groups"]:
        for test in group["tests"]:
            steps = [*group.get("steps", []), *test["steps"], *group.get("then", [])]
            if not any(step["do"] == "skip" and step["count"] > 20_000 for step in steps):
                different += _libsignal_as_members(oracle, steps, test["comment"])

    assert different == []


def _libsignal_as_members(oracle: Oracle, steps: list[Json], comment: str) -> list[str]:
    """Let libsignal devices play the members; return what they did otherwise than the steps say."""
    sender = OracleAddress("sender", 1)
    members: dict[str, OracleDevice] = {}
    distributions, messages, different = [], [], []
    for step in steps:
        match step["do"]:
            case "distribute":
                distributions.append(bytes.fromhex(step["body"]))
            case "encrypt":
                messages.append((bytes.fromhex(step["body"]), bytes.fromhex(step["plaintext"])))
            case "add" | "decrypt":
                name = step["by"]
                member = members.get(name) or members.setdefault(name, OracleDevice.create(oracle, name))
                if not _as_stated(member, sender, step, distributions, messages):
                    different.append(f"{comment}: {step['do']} of {step.get('fault', 'a genuine one')}")
    return different


def _as_stated(
    member: OracleDevice,
    sender: OracleAddress,
    step: Json,
    distributions: list[bytes],
    messages: list[tuple[bytes, bytes]],
) -> bool:
    try:
        if step["do"] == "add":
            body = distributions[step["distribution"]] if "distribution" in step else bytes.fromhex(step["body"])
            member.process_distribution(sender, body)
            return "fault" not in step
        if "message" in step:
            body, plaintext = messages[step["message"]]
        else:
            body, plaintext = bytes.fromhex(step["body"]), bytes.fromhex(step.get("plaintext", ""))
        return member.group_decrypt(sender, body) == plaintext and "fault" not in step
    except OracleError:
        return "fault" in step


def test_libsignal_takes_and_refuses_the_signatures_as_the_vectors_say(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    for group in FILES["xeddsa.json"].content["groups"]:
        for test in group["tests"]:
            parts = [bytes.fromhex(test[name]) for name in ("public_key", "message", "signature")]
            try:
                verified = keys.verify(*parts)
            except OracleError:
                verified = False
            assert verified == (test["result"] == "valid"), test["comment"]
