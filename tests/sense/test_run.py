"""`stemrw run`: what a program that dies, or does not, is reported as."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sense.sensing import Program, Sense, argv

from stemrw.documents.fault_report import FaultReport, Frame


def names(report: FaultReport) -> list[str | None]:
    return [frame.symbol for frame in report.backtrace]


def find(report: FaultReport, symbol: str) -> Frame:
    return next(frame for frame in report.backtrace if frame.symbol == symbol)


@pytest.mark.parametrize(
    ("what", "number", "fault_class", "function", "address", "access"),
    [
        ("null-write", signal.SIGSEGV, "null-dereference", "fault_here", 8, "write"),
        ("wild-write", signal.SIGSEGV, "wild-dereference", "fault_here", 0x123456000, "write"),
        ("non-canonical", signal.SIGSEGV, "wild-dereference", "fault_here", 0x1234567812345678, "write"),
        ("divide", signal.SIGFPE, "divide", "divide_here", None, None),
        ("illegal", signal.SIGILL, "illegal-instruction", "main", None, None),
        ("privileged", signal.SIGSEGV, "illegal-instruction", "main", None, None),
        ("trap", signal.SIGTRAP, "trap", "main", None, None),
    ],
)
def test_fault_is_reported_where_it_happened(
    sense: Sense,
    crasher: Program,
    what: str,
    number: int,
    fault_class: str,
    function: str,
    address: int | None,
    access: str | None,
) -> None:
    sensed = sense(crasher.path, what)
    report = sensed.report
    assert sensed.status == 128 + number
    assert (report.signal, report.fault_class) == (signal.Signals(number).name, fault_class)
    assert (report.pc.symbol, report.pc.function) == (function, crasher.function(function))
    assert report.pc.module == str(crasher.path) == report.program.path
    assert (report.fault_address, report.access) == (address, access)
    assert names(report)[-1] == "_start" and all(frame.certain for frame in report.backtrace)
    assert report.backtrace_note is None and report.backtrace_truncated is None


def test_misaligned_vector_access_and_end_of_file_are_bus_errors(sense: Sense, crasher: Program) -> None:
    misaligned = sense(crasher.path, "misaligned").report
    assert (misaligned.fault_class, misaligned.access) == ("bus", "read")
    assert misaligned.fault_address is not None and misaligned.fault_address % 16 == 1
    beyond = sense(crasher.path, "bus").report
    assert (beyond.signal, beyond.fault_class, beyond.pc.symbol) == ("SIGBUS", "bus", "fault_here")


def test_report_names_program_modules_and_surroundings(sense: Sense, crasher: Program, tmp_path: Path) -> None:
    text = tmp_path / "input.txt"
    text.write_text("x")
    sensed = sense(crasher.path, "null-write", stdin=text)
    report = sensed.report
    digest = subprocess.run(["sha256sum", crasher.path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert report.program.sha256 == digest
    assert report.modules[0] == report.program
    assert {module.path for module in report.modules} == {frame.module for frame in report.backtrace}
    assert report.command == (str(crasher.path), "null-write")
    assert (report.cwd, report.stdin, report.exe) == (str(tmp_path), str(text), str(crasher.path))
    assert report.instruction is not None and "[rdi]" in report.instruction.text
    assert report.registers["rdi"] == 8
    assert report.registers["rip"] & 0xFFF == (report.pc.address or 0) & 0xFFF
    data = json.loads(sensed.path.read_text())
    assert (data["schema"], data["version"], data["class"]) == ("stemrw.fault-report", 1, "null-dereference")
    assert FaultReport.model_validate(data).to_json() == sensed.path.read_text()


def test_return_addresses_follow_their_calls(sense: Sense, crasher: Program) -> None:
    report = sense(crasher.path, "null-write").report
    code = crasher.path.read_bytes()
    caller = find(report, "caller_of_fault")
    listing = subprocess.run(["objdump", "-d", crasher.path], capture_output=True, text=True, check=True).stdout
    lines = [line for line in listing.splitlines() if "\t" in line]
    index = next(i for i, line in enumerate(lines) if line.split(":")[0].strip() == f"{caller.address:x}")
    assert "call" in lines[index - 1] and "fault_here" in lines[index - 1]
    assert caller.return_address and not report.backtrace[0].return_address
    assert code[:4] == b"\x7fELF"


def test_crash_in_thread_is_reported(sense: Sense, crasher: Program) -> None:
    report = sense(crasher.path, "thread").report
    assert names(report)[:3] == ["fault_here", "caller_of_fault", "thread_main"]
    assert report.tid != report.pid and report.backtrace_note is None


@pytest.mark.parametrize("what", ["fork", "spawn"])
def test_crash_in_child_is_reported_and_status_is_the_parents(sense: Sense, crasher: Program, what: str) -> None:
    sensed = sense(crasher.path, what)
    assert (sensed.status, sensed.stdout) == (0, "child 11\n")
    assert names(sensed.report)[:2] == ["fault_here", "caller_of_fault"]


def test_program_started_by_a_shell_line_is_reported(sense: Sense, crasher: Program) -> None:
    sensed = sense("sh", "-c", f"echo before; {crasher.path} divide; echo after $?")
    assert (sensed.status, sensed.stdout) == (0, "before\nafter 136\n")
    assert sensed.report.exe == str(crasher.path)


def test_program_executed_by_a_thread_is_followed(sense: Sense, crasher: Program) -> None:
    sensed = sense(crasher.path, "exec-by-thread")
    assert sensed.status == 139
    assert sensed.report.command == (str(crasher.path), "null-write")


def test_first_of_several_crashes_is_reported(sense: Sense, crasher: Program) -> None:
    sensed = sense(crasher.path, "twice")
    assert sensed.report.fault_class == "null-dereference"
    assert "died of SIGABRT too" in sensed.stderr


@pytest.mark.parametrize("what", ["re-raise", "re-raise-other-stack", "re-kill", "re-fault", "handler-aborts"])
def test_handler_that_gives_up_is_reported_as_the_fault_it_took(sense: Sense, crasher: Program, what: str) -> None:
    sensed = sense(crasher.path, what)
    report = sensed.report
    assert sensed.status == 128 + (signal.SIGABRT if what == "handler-aborts" else signal.SIGSEGV)
    assert (report.signal, report.fault_class, report.fault_address) == ("SIGSEGV", "null-dereference", 8)
    assert names(report)[:3] == ["fault_here", "caller_of_fault", "main"]


@pytest.mark.parametrize(("what", "status"), [("recover", 0), ("handler-exits", 3)])
def test_fault_that_the_program_handles_is_no_crash(sense: Sense, crasher: Program, what: str, status: int) -> None:
    sensed = sense(crasher.path, what)
    assert sensed.status == status
    assert not sensed.path.exists()
    assert "took SIGSEGV with a handler of its own" in sensed.stderr


def test_abort_after_a_recovered_fault_is_its_own_fault(sense: Sense, crasher: Program) -> None:
    report = sense(crasher.path, "recover-then-abort").report
    assert (report.signal, report.fault_class) == ("SIGABRT", "abort")
    assert names(report)[names(report).index("abort") + 1] == "main"


@pytest.mark.parametrize(("what", "caller"), [("abort", "main"), ("assert", "__assert_fail")])
def test_abort_and_failed_assertion(sense: Sense, crasher: Program, what: str, caller: str) -> None:
    sensed = sense(crasher.path, what)
    assert (sensed.status, sensed.report.fault_class) == (134, "abort")
    assert caller in names(sensed.report) and "main" in names(sensed.report)
    assert sensed.report.instruction is not None and sensed.report.instruction.text == "syscall"


def test_signal_that_a_program_sends_itself_is_an_abort(sense: Sense, crasher: Program) -> None:
    report = sense(crasher.path, "raise").report
    assert (report.signal, report.fault_class, report.sent_by) == ("SIGSEGV", "abort", None)


def test_signal_sent_by_another_process_names_the_sender(sense: Sense, crasher: Program) -> None:
    report = sense(crasher.path, "segv-parent").report
    assert report.sent_by is not None and report.sent_by != report.pid


def test_forbidden_system_call(sense: Sense, crasher: Program) -> None:
    sensed = sense(crasher.path, "system-call")
    assert (sensed.status, sensed.report.fault_class) == (128 + signal.SIGSYS, "bad-syscall")
    assert "forbidden_system_call" in names(sensed.report)


@pytest.mark.parametrize(("what", "function"), [("null-call", "null_call_here"), ("wild-call", "wild_call_here")])
def test_call_to_nowhere_gives_its_caller_as_a_guess(sense: Sense, crasher: Program, what: str, function: str) -> None:
    report = sense(crasher.path, what).report
    assert (report.fault_class, report.access, report.pc.module) == ("wild-jump", "execute", None)
    assert [frame.certain for frame in report.backtrace][:2] == [True, False]
    assert names(report)[1:3] == [function, "main"]
    assert report.backtrace_note is not None


@pytest.mark.parametrize("what", ["return-to-nowhere", "return-non-canonical"])
def test_overwritten_return_address(sense: Sense, crasher: Program, what: str) -> None:
    report = sense(crasher.path, what).report
    assert report.fault_class == "return-address"
    assert report.backtrace_note is not None
    assert [frame for frame in report.backtrace if frame.certain] == [report.backtrace[0]]


def test_function_that_returned_to_nowhere_is_found_below_the_stack(sense: Sense, crasher: Program) -> None:
    """By the return address of its last call, and by unwind information that ends its frame at the stack pointer."""
    report = sense(crasher.path, "return-after-call").report
    assert (report.fault_class, report.pc.module) == ("return-address", None)
    left = report.backtrace[1]
    assert (left.symbol, left.return_address, left.certain) == ("smash_and_call_here", True, False)
    assert "smash_and_call_here" not in names(sense(crasher.path, "return-to-nowhere").report)


@pytest.mark.parametrize("what", ["overflow", "overflow-thread", "overflow-handled", "overflow-undeliverable"])
def test_deep_recursion_is_cut_and_says_so(sense: Sense, crasher: Program, what: str) -> None:
    report = sense(crasher.path, what).report
    assert report.fault_class == "stack-exhaustion"
    cut = report.backtrace_truncated
    assert cut is not None and cut.innermost == 64 and cut.total is not None and cut.total > 10_000
    assert len(report.backtrace) == 64 + 32
    outer = "recursing_thread" if what == "overflow-thread" else "main"
    assert names(report)[-8:].count(outer) == 1 and set(names(report)[:64]) <= {"recurse_here", "memset", None}
    assert report.backtrace_note is None


@pytest.mark.parametrize("options", [("--cpu-limit", "0.5"), ("--timeout", "1.5")])
@pytest.mark.parametrize("what", ["hang", "hang-thread"])
def test_hang_is_reported_where_it_spins(sense: Sense, crasher: Program, what: str, options: tuple[str, str]) -> None:
    sensed = sense(crasher.path, what, options=options)
    report = sensed.report
    assert sensed.status == 128 + signal.SIGKILL
    assert (report.fault_class, report.signal) == ("hang", None)
    assert report.hang is not None and report.hang.spinning
    assert report.hang.limit == ("cpu" if options[0] == "--cpu-limit" else "wall")
    assert report.pc.symbol == "hang_here"
    assert names(report)[1] == "caller_of_hang"


def test_program_that_waits_is_reported_as_waiting(sense: Sense, crasher: Program) -> None:
    report = sense("sh", "-c", f"{crasher.path} wait; true", options=("--timeout", "1")).report
    assert report.hang is not None and not report.hang.spinning
    assert report.exe == str(crasher.path) and report.pc.symbol == "pause"


def test_killed_tree_leaves_nothing_behind(sense: Sense, crasher: Program, tmp_path: Path) -> None:
    sense("sh", "-c", f"{crasher.path} wait & echo $! > child; {crasher.path} wait", options=("--timeout", "0.5"))
    assert not Path("/proc", (tmp_path / "child").read_text().strip(), "exe").exists()


@pytest.mark.parametrize("status", [0, 1, 77])
def test_command_without_a_fault_writes_nothing(sense: Sense, crasher: Program, status: int) -> None:
    sensed = sense(crasher.path, "exit", str(status))
    assert (sensed.status, sensed.stdout) == (status, "")
    assert "no crash" in sensed.stderr and not sensed.path.exists()


def test_ignored_signal_is_no_crash(sense: Sense, crasher: Program) -> None:
    sensed = sense(crasher.path, "ignored")
    assert sensed.status == 0 and not sensed.path.exists()


def test_death_by_another_signal_is_no_fault(sense: Sense) -> None:
    sensed = sense("sh", "-c", "kill -TERM $$")
    assert sensed.status == 128 + signal.SIGTERM and not sensed.path.exists()


def test_command_that_cannot_be_started(sense: Sense, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("no program")
    missing, not_executable, script = sense("/no/such/program"), sense(data), tmp_path / "script"
    assert (missing.status, not_executable.status) == (127, 126)
    assert "No such file" in missing.stderr and "Permission denied" in not_executable.stderr
    script.write_text("echo run by the shell\n")
    script.chmod(0o755)
    assert sense(script).stdout == "run by the shell\n"


@pytest.mark.parametrize(
    "arguments", [[], ["--no-such-option", "--", "true"], ["--timeout", "x", "--", "true"], ["-o", "report.json"]]
)
def test_usage_errors_have_status_2(arguments: list[str]) -> None:
    assert subprocess.run(argv(*arguments), capture_output=True).returncode == 2


def test_everything_behind_the_dashes_is_the_command(sense: Sense) -> None:
    assert sense("echo", "--timeout", "-o", "--", "--help").stdout == "--timeout -o -- --help\n"


def test_standard_streams_are_the_commands_own(sense: Sense) -> None:
    sensed = sense("sh", "-c", "cat; echo to-stderr >&2", stdin="through\n")
    assert sensed.stdout == "through\n" and "to-stderr\n" in sensed.stderr


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_environment_and_signal_dispositions_are_the_commands_own(
    sense: Sense, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.setenv("LC_ALL", "")
    monkeypatch.setenv("LANG", locale)
    show = "env; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"
    plain = subprocess.run(["sh", "-c", show], capture_output=True, text=True, cwd=tmp_path).stdout
    assert sense("sh", "-c", show).stdout == plain


def test_report_is_written_when_the_process_dies_not_at_the_end(crasher: Program, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    command = argv("-o", report, "--", "sh", "-c", f"{crasher.path} divide; echo dead; read line")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as watched:
        assert watched.stdout is not None and watched.stdin is not None
        assert watched.stdout.readline() == b"dead\n"
        assert json.loads(report.read_text())["class"] == "divide"
        watched.stdin.close()


def wait_for(condition: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition.exists():
        assert time.monotonic() < deadline, f"{condition} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'echo got; exit 5' {number.name[3:]}; : > {ready}; while :; do sleep 0.05; done"
    with subprocess.Popen(
        argv("-o", tmp_path / "r.json", "--", "sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as watched:
        wait_for(ready)
        watched.send_signal(number)
        assert watched.communicate(timeout=20)[0] == b"got\n"
        assert watched.returncode == 5


def test_interrupt_from_the_terminal_arrives_once(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'echo got' INT; : > {ready}; for i in 1 2 3 4 5 6; do sleep 0.1; done"
    pid, terminal = pty.fork()
    if pid == 0:
        command = argv("-o", tmp_path / "r.json", "--", "sh", "-c", script)
        os.execv(command[0], command)
    wait_for(ready)
    os.write(terminal, b"\x03")
    status = os.waitpid(pid, 0)[1]
    shown = os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0 and shown.count(b"got\r\n") == 1


def test_killed_sensor_leaves_no_process_stopped(crasher: Program, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"echo $$ > {ready}.new; mv {ready}.new {ready}; exec {crasher.path} wait"
    with subprocess.Popen(argv("-o", tmp_path / "r.json", "--", "sh", "-c", script)) as watched:
        wait_for(ready)
        watched.kill()
    deadline = time.monotonic() + 20
    while Path("/proc", ready.read_text().strip(), "exe").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stopped_command_stays_stopped_until_continued(crasher: Program, tmp_path: Path) -> None:
    ready, after = tmp_path / "ready", tmp_path / "after"
    script = f"echo $$ > {ready}.new; mv {ready}.new {ready}; kill -STOP $$; : > {after}"
    with subprocess.Popen(
        argv("-o", tmp_path / "r.json", "--", "sh", "-c", script), stderr=subprocess.DEVNULL
    ) as watched:
        wait_for(ready)
        time.sleep(0.3)
        assert not after.exists()
        os.kill(int(ready.read_text()), signal.SIGCONT)
        assert watched.wait(20) == 0
    assert after.exists()


def test_children_in_the_background_are_left_running(sense: Sense, tmp_path: Path) -> None:
    late = tmp_path / "late"
    sensed = sense("sh", "-c", f"(sleep 1; : > {late}) > /dev/null 2>&1 &")
    assert sensed.status == 0 and not late.exists()
    assert "left running" in sensed.stderr
    wait_for(late)


def test_program_deleted_while_it_runs_is_still_identified(sense: Sense, crasher: Program, tmp_path: Path) -> None:
    copy = tmp_path / "gone"
    shutil.copy(crasher.path, copy)
    report = sense("sh", "-c", f"(sleep 0.3; rm {copy}) & exec {copy} hang", options=("--cpu-limit", "1")).report
    assert report.program.path == str(copy) and report.program.sha256 is not None
    assert "hang_here" in names(report)


def test_names_that_are_no_text_do_not_break_the_report(sense: Sense, crasher: Program, tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n\x1b[2Jb")
    shutil.copy(crasher.path, strange)
    sensed = sense(strange, "divide")
    assert sensed.report.fault_class == "divide" and sensed.report.pc.symbol == "divide_here"
    assert "\x1b" not in sensed.stderr


def test_report_goes_through_links_and_keeps_others_readers(sense: Sense, crasher: Program, tmp_path: Path) -> None:
    (tmp_path / "report.json").symlink_to("real.json")
    sense(crasher.path, "divide")
    assert (tmp_path / "report.json").is_symlink()
    assert (tmp_path / "real.json").stat().st_mode & 0o777 == 0o666 & ~current_umask()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.json", "report.json"]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_report_goes_into_a_pipe(crasher: Program, tmp_path: Path) -> None:
    output = tmp_path / "stdout"
    output.symlink_to("/proc/self/fd/1")  # as /dev/stdout is, which programs run by root may have replaced by a file
    done = subprocess.run(argv("-o", output, "--", crasher.path, "divide"), capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGFPE
    assert FaultReport.model_validate_json(done.stdout).fault_class == "divide"


def test_output_that_cannot_be_written_is_found_out_before_the_command_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    done = subprocess.run(argv("-o", tmp_path / "no" / "r.json", "--", "touch", ran), capture_output=True)
    assert done.returncode == 2 and not ran.exists()


def namespaces() -> bool:
    """Whether this user may make a PID namespace."""
    return subprocess.run(["unshare", "-rpf", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not namespaces(), reason="PID namespaces are not allowed here")
def test_first_process_of_a_pid_namespace_dies_as_without_the_sensor(sense: Sense, crasher: Program) -> None:
    native = subprocess.run(["unshare", "-rpf", crasher.path, "divide"], capture_output=True).returncode
    sensed = sense("unshare", "-rpf", crasher.path, "divide")
    assert sensed.report.fault_class == "divide"
    assert sensed.status == (128 - native if native < 0 else native)


@pytest.mark.skipif(not namespaces(), reason="PID namespaces are not allowed here")
def test_process_of_a_pid_namespace_is_known_to_have_signalled_itself(sense: Sense, crasher: Program) -> None:
    report = sense("unshare", "-rpf", "sh", "-c", f"{crasher.path} raise; true").report
    assert (report.fault_class, report.sent_by) == ("abort", None)


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not installed")
def test_divide_overflow_of_dash(sense: Sense, tmp_path: Path) -> None:
    sensed = sense("dash", "-c", "echo $(( (-9223372036854775807-1) % -1 ))")
    report = sensed.report
    assert (sensed.status, report.signal, report.fault_class) == (136, "SIGFPE", "divide")
    assert report.instruction is not None and report.instruction.text.startswith("idiv")
    assert report.program.path == report.pc.module == os.path.realpath(shutil.which("dash") or "")
    assert len(report.backtrace) > 8 and report.backtrace_note is None
