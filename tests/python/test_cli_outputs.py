"""What the command line writes: checked before work, whole or not there, gone if interrupted."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ascend_prefetch.files import OutputFile, check_outputs, whole_file
from ascend_prefetch.lab import cli
from ascend_prefetch.lab.cli.common import Verb

# A command of each verb that writes something, without the names of its files; what they end in.
WRITERS = {
    "sweep": (["sweep"], {"out": ".csv", "plot": ".png", "json": ".json"}),
    "results": (["results"], {"out": ".md", "json": ".json"}),
    "timeline": (
        ["timeline", "o_proj", "--model", "deepseek-v2-lite"],
        {"out": ".json", "json": ".json"},
    ),
    "correlate": (["correlate"], {"plot": ".png", "json": ".json"}),
    "calibrate": (["calibrate", "--points", "points.csv"], {"out": ".json", "json": ".json"}),
    "bench": (
        ["bench", "o_proj", "--model", "deepseek-v2-lite", "--device", "npu"],
        {"points-out": ".csv", "json": ".json"},
    ),
    **{
        name: ([name], {"json": ".json"})
        for name in (
            "info",
            "sanitize",
            "mutate",
            "collect-env",
            "floors",
        )
    },
    "demo": (["demo"], {"out": ".json", "json": ".json"}),
    "first-hour": (["first-hour"], {"out": ".tar.gz", "json": ".json"}),
    "layer": (
        ["layer", "--model", "deepseek-v2-lite"],
        {"timeline": ".json", "json": ".json"},
    ),
    "windows": (["windows", "--profile", "profile.csv"], {"out": ".json", "json": ".json"}),
}
FILES = [(verb, option) for verb, (_, options) in WRITERS.items() for option in options]


@pytest.fixture(autouse=True)
def signals():
    """As a shell's foreground has them: what runs in the background may begin with them ignored."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def no_work(monkeypatch):
    """Fails where a verb begins before its outputs were checked."""

    def run(options):
        raise AssertionError("work was begun")

    verbs = tuple(verb._replace(run=run) for verb in cli.VERBS)
    monkeypatch.setattr(cli, "VERBS", verbs)


def refused(capsys, arguments, text):
    assert cli.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"ascend_prefetch {arguments[0]}: {text}\n"


def command(tmp_path, verb, **changed):
    """With every required output in tmp_path, and `changed` ones elsewhere."""
    start, options = WRITERS[verb]
    paths = {name: tmp_path / f"{name}{suffix}" for name, suffix in options.items()}
    paths |= {name.replace("_", "-"): path for name, path in changed.items()}
    return [*start, *(text for name, path in paths.items() for text in (f"--{name}", path))]


def test_all_verbs_are_here():
    assert set(WRITERS) == {verb.name for verb in cli.VERBS}
    for verb in cli.VERBS:
        options = {option.name.replace("_", "-") for option in verb.outputs} | {"json"}
        assert set(WRITERS[verb.name][1]) == options


@pytest.mark.parametrize(("verb", "option"), FILES)
def test_outputs_are_checked_first(capsys, tmp_path, no_work, verb, option):
    suffix = WRITERS[verb][1][option]
    absent = tmp_path / "absent" / f"file{suffix}"
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    loop = tmp_path / f"loop{suffix}"
    loop.symlink_to(loop)
    long = tmp_path / ("x" * 300 + suffix)
    for path, text in (
        (absent, f"there is no directory '{absent.parent}'"),
        (folder, f"'{folder}' is a directory"),
        (loop, f"'{loop}' cannot be written: "),
        (long, "'/"),
    ):
        arguments = command(tmp_path, verb, **{option.replace("-", "_"): path})
        assert cli.main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"ascend_prefetch {verb}: {option}: {text}")
        assert printed.count("\n") == 1
    assert printed.endswith("...' cannot be written: File name too long\n")
    assert set(tmp_path.iterdir()) == {folder, loop}


@pytest.mark.parametrize(
    "verb", [verb for verb, (_, options) in WRITERS.items() if len(options) > 1]
)
def test_no_two_outputs_are_one_file(capsys, tmp_path, no_work, verb):
    """Under one name, by another way, and through links, to what is there and to what is not."""
    first, suffix = next(iter(WRITERS[verb][1].items()))
    target = tmp_path / f"one{suffix}"
    name = {first.replace("-", "_"): target}
    (tmp_path / "folder").symlink_to(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(target)
    others = [target, tmp_path / "folder" / target.name, link]
    for other in others:
        text = f"json: expected another file than that of {first}, got '{other}'"
        refused(capsys, command(tmp_path, verb, json=other, **name), text)
    target.write_text("before")
    os.link(target, tmp_path / "hard")
    for other in [*others, tmp_path / "hard"]:
        text = f"json: expected another file than that of {first}, got '{other}'"
        refused(capsys, command(tmp_path, verb, json=other, **name), text)
    assert target.read_text() == "before"


def test_a_picture_beside_an_output_is_one(capsys, tmp_path, no_work):
    arguments = ["demo", "--out", tmp_path / "d.json", "--json", tmp_path / "d.png"]
    text = f"json: expected another file than that of out, got '{tmp_path / 'd.png'}'"
    refused(capsys, arguments, text)


def test_no_output_replaces_an_input(capsys, tmp_path, no_work):
    points = tmp_path / "points.csv"
    points.write_text("mine")
    text = f"json: expected another file than that of an input, got '{points}'"
    refused(capsys, ["correlate", "--points", points, "--json", points], text)
    chip = tmp_path / "chip.json"
    chip.write_text("mine")
    text = f"json: expected another file than that of an input, got '{chip}'"
    refused(capsys, ["correlate", "--soc", chip, "--json", chip], text)
    # A chip file may be made out of itself.
    check_outputs([OutputFile("out", chip, (".json",))], [points])
    assert (points.read_text(), chip.read_text()) == ("mine", "mine")


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    """Tests may run as root, which may write everywhere but to a file system without files."""
    with pytest.raises(ValueError, match="^out: '/proc/self/sweep.csv' cannot be written: "):
        check_outputs([OutputFile("out", Path("/proc/self/sweep.csv"))])
    path = tmp_path / "sweep.csv"
    path.write_text("before")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match=f"^out: '{path}' cannot be written: it is read-only$"):
        check_outputs([OutputFile("out", path)])


# --- writing ---


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """Links stay links, permissions stay."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to("target")
    with pytest.raises(KeyError), whole_file(link) as part:
        part.write_text("half")
        assert target.read_text() == "before"
        raise KeyError
    assert sorted(tmp_path.iterdir()) == [link, target]
    with whole_file(link) as part:
        part.write_text("after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [link, target]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("x" * 255)
    check_outputs([OutputFile("out", path)])
    with whole_file(path) as part:
        part.write_text("long")
    assert path.read_text() == "long"


def test_devices_and_fifos_are_written_to(tmp_path):
    """They are not replaced by files."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    null, stream = Path(os.devnull), Path("/dev/fd/1")
    check_outputs([OutputFile("out", fifo), OutputFile("plot", null), OutputFile("json", null)])
    check_outputs([OutputFile("out", stream)])
    with pytest.raises(OSError, match="No such device or address"), whole_file(fifo) as part:
        part.write_text("nobody reads")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for path in (fifo, null):
        with whole_file(path) as part:
            part.write_text("all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert null.is_char_device()
    assert fifo.is_fifo()


def test_names_that_are_no_text(monkeypatch, tmp_path):
    """Bytes that are no UTF-8 are shown, and do not end a run that has written its file."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="utf-8"))
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")
    arguments = ["timeline", "prefetch", "--model", "deepseek-v2-lite", "--tp", "16"]
    assert cli.main([*arguments, "--out", path]) == 0
    assert printed.getvalue().endswith(b"\\udcff.json\n")
    assert json.loads(Path(path).read_text())["traceEvents"]


# --- interrupted ---


def fake(run):
    return Verb("info", "", run, lambda result: None)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_work_in_one_line(capsys, monkeypatch, tmp_path, number, status):
    """Even where errors are handled; what ends the work is not interrupted once more."""
    path = tmp_path / "file"
    ended = []

    def run(options):
        with whole_file(path) as part:
            part.write_text("half")
            try:
                os.kill(os.getpid(), number)
                ended.append("not here")
            except Exception:
                ended.append("nor here")
            finally:
                for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(os.getpid(), other)
                ended.append("cleaned up")

    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setattr(cli, "VERBS", (fake(run),))
    assert cli.main(["info"]) == status
    assert ended == ["cleaned up"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"ascend_prefetch info: interrupted by {number.name}\n"
    assert list(tmp_path.iterdir()) == []
    assert handlers == [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]


def test_nohup_stays(monkeypatch):
    monkeypatch.setattr(cli, "VERBS", (fake(lambda options: os.kill(os.getpid(), 1) or {}),))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.main(["info"]) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_leaves_nothing(tmp_path, number, status):
    """A terminal's Ctrl-C reaches all processes, SIGTERM the first one alone."""
    tokens = ",".join(map(str, range(1, 65)))
    sweep = subprocess.Popen(
        [sys.executable, "-m", "ascend_prefetch", "sweep", "--models", "deepseek-v2-lite", "--tp",
         "16", "--tokens", tokens, "--kv-len", "16", "--processes", "2", "--out",
         str(tmp_path / "sweep.csv"), "--json", str(tmp_path / "sweep.json")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert sweep.stderr is not None
    assert sweep.stderr.readline().startswith("[")  # of 64 rows
    if number == signal.SIGINT:
        os.killpg(sweep.pid, number)
    else:
        sweep.send_signal(number)
    # Which ends when the last process of them all has closed its stderr.
    _, rest = sweep.communicate()
    assert sweep.returncode == status
    lines = [line for line in rest.splitlines() if not line.startswith("[")]
    assert lines == [f"ascend_prefetch sweep: interrupted by {number.name}"]
    assert list(tmp_path.iterdir()) == []


def test_other_programs_keep_their_ctrl_c(tmp_path):
    """`python -m` of a package that imports this one first; it used to lose KeyboardInterrupt."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").write_text("import ascend_prefetch\n")
    program = (
        "import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    (tmp_path / "other" / "program.py").write_text(program)
    command = [sys.executable, "-m", "other.program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_path_without_a_name(capsys, no_work):
    assert cli.main(["demo", "--out", ""]) == 2
    assert "suffix" not in capsys.readouterr().err  # the error names the option
    with pytest.raises(SystemExit):
        cli.main(["demo", "--mod", "glm-5"])
    assert "--mod" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough():
    """As `| head` is: no traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ascend_prefetch", "info"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# --- numbers ---

NUMBERS = [
    *((verb, "--tp") for verb in ("bench", "layer", "timeline", "sweep", "demo")),
    *((verb, "--tokens") for verb in ("bench", "timeline", "sweep")),
    *((verb, "--launch-us") for verb in ("bench", "layer", "timeline", "sweep")),
    *((verb, "--kv-len") for verb in ("layer", "sweep")),
    *((verb, "--moe-bytes") for verb in ("layer", "sweep")),
    *((verb, "--processes") for verb in ("mutate", "sweep")),
    ("layer", "--batch"),
    ("bench", "--layer"),
]


@pytest.mark.parametrize("value", [
    str(2**63), str(-(2**63)), "9" * 5000, "-1", "nan", "inf", "1e400", "", "\u0661", "0x10", "1_0",
    " ", "\udcff", "1\n2",
])  # fmt: skip
@pytest.mark.parametrize(("verb", "option"), NUMBERS)
def test_numbers_out_of_range(capsys, tmp_path, no_work, verb, option, value):
    if option == "--launch-us" and value in ("\u0661", "1_0"):
        pytest.skip("which Python reads as numbers")
    arguments = command(tmp_path, verb)
    with pytest.raises(SystemExit) as stop:
        cli.main([*map(str, arguments), f"{option}={value}"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"ascend_prefetch {verb}: argument {option}: expected ")
    assert printed.err.count("\n") == 1
    assert len(printed.err) < 300


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--batch", "8193"], "batch: expected 1 to 8192, got 8193"),
        (["--batch", str(2**31 - 1)], "batch: expected 1 to 8192, got 2147483647"),
        (["--kv-len", str(2**31 - 1)], "kv-len: expected caches of at most 4294967296 bytes that "
         "attention reads, got 39582418581504 of 16 sequences of 2147483647 tokens"),
        (["--moe-bytes", str(2**33)], "moe-bytes: expected 0 to 4294967296 bytes that experts "
         "read, got 8589934592"),
        (["--tp", str(2**31 - 1)], "tp: expected a positive divisor of the 128 heads of "
         "deepseek-v3, got 2147483647"),
    ],
)  # fmt: skip
def test_layers_that_nobody_waits_for(capsys, arguments, text):
    refused(capsys, ["layer", "--model", "deepseek-v3", *arguments], text)


@pytest.mark.parametrize("verb", ["bench", "timeline"])
def test_tokens_that_no_op_takes(capsys, tmp_path, verb):
    arguments = [verb, "o_proj", "--model", "deepseek-v3", "--tokens", 2**31 - 1]
    out = ["--out", tmp_path / "t.json"] if verb == "timeline" else []
    refused(capsys, [*arguments, *out], "tokens: expected 1 to 8192, got 2147483647")


def test_a_sweep_checks_its_layers_first(capsys, tmp_path):
    arguments = ["sweep", "--out", tmp_path / "s.csv", "--moe-bytes", 2**33]
    text = "moe-bytes: expected 0 to 4294967296 bytes that experts read, got 8589934592"
    refused(capsys, arguments, text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["bench"], ["info", "--frob\n\x1b"]])
def test_errors_of_the_command_line_are_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ascend_prefetch")
    assert printed.err.count("\n") == 1
