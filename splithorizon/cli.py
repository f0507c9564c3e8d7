"""The command ``splithorizon``: judges a mesh, restores it, diagnoses a Service, compares reports, and lists claims."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import splithorizon
from splithorizon.base import paths
from splithorizon.base.errors import UsageProblem
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run import arguments, catalogue, config_file
from splithorizon.run.catalogue import Behaviour, Profile
from splithorizon.run.option_table import KEEP_CLUSTER, KUBECONFIG, OPTIONS, Option

PROGRAM = "splithorizon"
_MISUSED = 4
_REGRESSED = 1
_SUITES = "suites"
_VERIFY, _WATCH, _SWEEP, _DIAGNOSE, _RBAC = "verify", "watch", "sweep", "diagnose", "rbac"
_TABLE = (*OPTIONS, KEEP_CLUSTER, KUBECONFIG)
_KUBECONFIGS = frozenset({"kubeconfig", "kubeconfig-primary", "kubeconfig-remote"})
_FOR_A_WATCH = frozenset({"watch", "for", "rate", "budget"})
# Of the table, what each command takes beside pytest's own options.
_OF_VERIFY = tuple(option for option in _TABLE if option.name not in {"contexts", "sweep", "expired"})
# Its own options first. The command stands for --watch.
_OF_WATCH = tuple(
    sorted((one for one in _OF_VERIFY if one.name != "watch"), key=lambda one: one.name not in _FOR_A_WATCH)
)
_OF_SWEEP = tuple(
    option for option in _TABLE if option.name in _KUBECONFIGS | {"timeout-scale", "expired", "namespace"}
)
_OF_DIAGNOSE = tuple(option for option in _TABLE if option.name in _KUBECONFIGS | {"istiod-context", "revision"})
_SHELLS = ("bash", "zsh")
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: pytest's of a run, that of a diagnosis, 4 for bad input."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # What follows these two is pytest's, which argparse would take for its own.
    match words:
        case ["verify", *rest] if missing := [word for word in rest if _is_test(word) and not _path(word).exists()]:
            # Without a path that is there, pytest would not know our options either.
            print(f"{PROGRAM} {_VERIFY}: there is no {', '.join(missing)}. Nothing was created.", file=sys.stderr)
            return _MISUSED
        case ["verify", *rest] if not _asks_for_help(rest):
            return _pytest([*_contexts(rest), *_tests(_after_contexts(rest))], words)
        case ["watch", *rest] if not _asks_for_help(rest):
            return _pytest(["--watch", *_contexts(rest), *_tests(_after_contexts(rest))], words)
        case ["sweep", *rest] if not _asks_for_help(rest):
            return _pytest(["--sweep", *_contexts(rest), *_after_contexts(rest), str(paths.SUITES)], words)
    try:
        asked = _parser().parse_args(words)
    except SystemExit as ended:
        return _MISUSED if ended.code else 0
    try:
        if asked.command == "completion":
            print(_completion(asked.shell))
            return 0
        if asked.command == _DIAGNOSE:
            return _diagnose(asked)
        if asked.command == _RBAC:
            return _rbac(asked)
        if asked.command == "compare":
            return _compare(asked.before, asked.after, as_json=asked.json)
        return _list(asked.profile, as_json=asked.json)
    except BrokenPipeError:
        # The reader, head for example, has closed the pipe; Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _asks_for_help(rest: Sequence[str]) -> bool:
    return bool({"-h", "--help"} & {*rest})


def _is_contexts(word: str) -> bool:
    return not word.startswith("-") and not _is_test(word)


def _contexts(rest: Sequence[str]) -> list[str]:
    """The option that names the contexts; without it ``splithorizon.toml`` may name them."""
    # In one word, for a context may begin with a dash.
    return [f"--contexts={rest[0]}"] if rest and _is_contexts(rest[0]) else []


def _after_contexts(rest: Sequence[str]) -> list[str]:
    return list(rest[len(_contexts(rest)) :])


def _is_test(word: str) -> bool:
    """Whether a word is the path or the node id of suites, as reports and pytest print it."""
    return word == _SUITES or word.startswith(f"{_SUITES}/")


def _path(word: str) -> Path:
    return paths.ROOT / word.partition("::")[0]


def _tests(rest: Sequence[str]) -> list[str]:
    """Pytest's arguments, with the paths of suites where they lie; all of them where none is named."""
    found = [str(paths.ROOT / word) if _is_test(word) else word for word in rest]
    return found if any(map(_is_test, rest)) else [*found, str(paths.SUITES)]


def _pytest(arguments: Iterable[str], typed: Sequence[str]) -> int:
    # The one place of this package that knows pytest; the other commands take no time for it.
    import pytest

    if paths.INSTALLED:
        # Nothing is written where the suites lie, neither by this process nor by xdist's workers.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    ours = ["-c", str(paths.PYTEST_CONFIGURATION), f"--rootdir={paths.ROOT}"]
    ours += [f"--typed-as={shlex.join([PROGRAM, *typed])}"]
    return int(pytest.main([*ours, *arguments]))


def _diagnose(asked: argparse.Namespace) -> int:
    # Reads meshes, which takes a while to import; the other commands need nothing of it.
    from splithorizon.base.errors import EnvironmentBroke
    from splithorizon.run import service_diagnosis, service_summary
    from splithorizon.run.options import Options
    from splithorizon.run.outcome import ExitStatus

    try:
        file = config_file.read(Path.cwd(), _TABLE).values
        contexts = asked.contexts or file.get("contexts")
        if not contexts or not asked.service:
            raise UsageProblem("A,B and --service NS/NAME are needed")
        namespace, service = service_diagnosis.named(asked.service, "--service")
        client = service_diagnosis.named(asked.client, "--client") if asked.client else ("", "")
        if asked.minutes < 1:
            raise UsageProblem(f"--minutes {asked.minutes}: at least 1")
        options = Options(
            contexts=arguments.contexts(contexts),
            kubeconfig=asked.kubeconfig or file.get("kubeconfig"),
            kubeconfig_primary=asked.kubeconfig_primary or file.get("kubeconfig-primary"),
            kubeconfig_remote=asked.kubeconfig_remote or file.get("kubeconfig-remote"),
            istiod_context=asked.istiod_context or file.get("istiod-context", ""),
            revision=asked.revision or file.get("revision", ""),
        )
        question = service_diagnosis.Question(namespace, service, *client, asked.minutes)
        found, redactor = service_diagnosis.diagnose(options, question)
    except UsageProblem as problem:
        print(f"{PROGRAM} {_DIAGNOSE}: {problem}", file=sys.stderr)
        return ExitStatus.MISUSED
    except EnvironmentBroke as problem:
        print(f"{PROGRAM} {_DIAGNOSE}: {problem}", file=sys.stderr)
        return ExitStatus.INCONCLUSIVE
    if asked.json:
        text = json.dumps(service_summary.as_json(found), indent=2, ensure_ascii=False)
    else:
        text = "\n".join(service_summary.lines(found))
    print(redactor.redact(text))
    return found.exit_status


def _compare(before: str, after: str, *, as_json: bool) -> int:
    # The classes of a report take half a second, which the other commands do without.
    from splithorizon.run import comparing, comparison, comparison_text

    try:
        found = comparing.compare(comparing.read(before), comparing.read(after))
    except UsageProblem as problem:
        print(f"{PROGRAM} compare: {problem}", file=sys.stderr)
        return _MISUSED
    print(comparison.as_json(found) if as_json else "\n".join(comparison_text.lines(found)))
    return _REGRESSED if found.regressions else 0


def _list(profiles: str | None, *, as_json: bool) -> int:
    try:
        chosen = catalogue.parse_profiles(profiles or "all")
    except ValueError as error:
        print(f"{PROGRAM} list: {error}", file=sys.stderr)
        return _MISUSED
    found = [one for one in catalogue.behaviours(paths.SUITES) if one.profile in chosen]
    if as_json:
        print(json.dumps(list(map(_as_json, found)), indent=2, ensure_ascii=False))
        return 0
    for one in found:
        print(f"{one.area}/{one.name}  [{one.profile}]")
        print(f"  {one.claim}.")
        print(f"  breaks when: {', '.join(one.breaks_when)}")
    return 0


def _rbac(asked: argparse.Namespace) -> int:
    # Its rights come from the modules that use them: no other command needs these.
    from splithorizon.run import rbac

    objects: dict[str, tuple[str, str]] = {}
    for option, text in (("service-account", asked.service_account), ("pull-secret", asked.pull_secret)):
        if not text:
            continue
        found = arguments.namespaced_name(text)
        if found is None:
            message = f"--{option} {text}: its namespace and name are needed, NAMESPACE/NAME"
            print(f"{PROGRAM} {_RBAC}: {message}", file=sys.stderr)
            return _MISUSED
        objects[option] = found
    subject, pull_secret = rbac.Subject(), objects.get("pull-secret")
    if asked.user or asked.group:
        subject = rbac.Subject("User" if asked.user else "Group", asked.user or asked.group)
    elif "service-account" in objects:
        namespace, name = objects["service-account"]
        subject = rbac.Subject(name=name, namespace=namespace)
    roles = rbac.printed(
        system_namespace=asked.system_namespace, subject=subject, disruption=asked.allow_disruption,
        pull_secret=pull_secret, namespace=asked.namespace or "",
    )  # fmt: skip
    print(roles, end="")
    return 0


def _as_json(one: Behaviour) -> dict[str, object]:
    return {
        "behaviour": one.name,
        "area": one.area,
        "profile": one.profile,
        "claim": one.claim,
        "breaks_when": one.breaks_when,
        "test": Path(_SUITES, one.area, one.path.name).as_posix(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {splithorizon.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_verify, _add_watch, _add_sweep, _add_diagnose, _add_compare, _add_list, _add_rbac, _add_completion,
    ):  # fmt: skip
        add(commands)
    return parser


def _add_verify(commands: _Commands) -> None:
    verify = commands.add_parser(
        _VERIFY,
        help="judge a mesh: A,B are contexts of your kubeconfig, in any order",
        description="Judge a mesh. Paths suites/… choose what is run; pytest's own options may follow too.",
        epilog="Options may stand in splithorizon.toml of the current folder, under the same names.",
    )
    _takes_contexts(verify, _OF_VERIFY)


def _add_watch(commands: _Commands) -> None:
    watch = commands.add_parser(
        _WATCH,
        help="send steadily while you change the mesh, say what each change cost, then judge the mesh once",
        description="Send steadily on every route, on new connections and on some that are kept, until Ctrl-C or for "
        "the time of --for, while you change the mesh. Then say what was lost beside which change, and judge the mesh "
        "once by profile core.",
        epilog="Options may stand in splithorizon.toml of the current folder, under the same names.",
    )
    _takes_contexts(watch, _OF_WATCH)


def _add_sweep(commands: _Commands) -> None:
    sweep = commands.add_parser(
        _SWEEP,
        help="remove what killed runs left on this machine; with contexts restore what runs left in that mesh",
        description="Remove what killed runs left on this machine; with contexts restore what runs left in that mesh.",
    )
    _takes_contexts(sweep, _OF_SWEEP)


def _add_diagnose(commands: _Commands) -> None:
    diagnose = commands.add_parser(
        _DIAGNOSE,
        help="say what is wrong with a Service of yours, and which endpoints its clients hold; changes nothing",
        description="Read a mesh once, at most 10 s and 32 MB, and say what is wrong with one Service of it: the "
        "endpoints that each cluster's clients should hold and hold, and the root cause, if one is known. Nothing is "
        "created in the mesh, and no request is sent to the Service.",
        epilog="Exit codes: 0 nothing wrong was found; 1 a root cause, endpoints that are missing, or requests that "
        "fail as a rule; 4 bad input; 10 too little could be read to say.",
    )
    _takes_contexts(diagnose, _OF_DIAGNOSE)
    diagnose.add_argument("--service", metavar="NS/NAME", help="the Service")
    diagnose.add_argument(
        "--client",
        metavar="NS/NAME",
        help="the pod or Deployment whose Envoy is looked at; without it a pod of the Service's namespace, of the "
        "Service itself, or a gateway, in each cluster",
    )
    diagnose.add_argument(
        "--minutes", type=int, default=10, help="so much of the access logs is read, up to now (default 10)"
    )
    diagnose.add_argument("--json", action="store_true", help="as JSON")


def _add_compare(commands: _Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="compare the reports of runs before and after a change",
        description="Compare reports. Exits with 1 on a regression, 0 otherwise, 4 for bad input.",
        epilog="BEFORE and AFTER: report.json, a run's folder, a folder of such folders, or a pattern in quotes. "
        "Recovery times are judged with five or more reports a side.",
    )
    compare.add_argument("before", metavar="BEFORE", help="reports of before the change")
    compare.add_argument("after", metavar="AFTER", help="reports of after it")
    compare.add_argument("--json", action="store_true", help="as JSON")


def _add_list(commands: _Commands) -> None:
    listing = commands.add_parser("list", help="list the behaviours with claim, profile and faults")
    listing.add_argument("--profile", metavar="NAMES", help=f"only those of {', '.join(Profile)}")
    listing.add_argument("--json", action="store_true", help="as JSON")


def _add_rbac(commands: _Commands) -> None:
    roles = commands.add_parser(
        _RBAC,
        help="print the roles that a run needs, for kubectl apply",
        description="Print the roles that a run needs in each cluster, with their bindings, for kubectl apply -f -.",
    )
    roles.add_argument("--allow-disruption", action="store_true", help="with the rights of --allow-disruption")
    roles.add_argument("--system-namespace", metavar="NAME", default=SYSTEM_NAMESPACE, help="istiod's namespace")
    roles.add_argument("--namespace", metavar="EXISTING", help="the rights of a run with this --namespace alone")
    roles.add_argument("--pull-secret", metavar="NS/NAME", help="with the rights of a run with this --pull-secret")
    whom = roles.add_mutually_exclusive_group()
    whom.add_argument("--user", metavar="NAME", help="bind them to a user")
    whom.add_argument("--group", metavar="NAME", help="bind them to a group")
    whom.add_argument("--service-account", metavar="NAMESPACE/NAME", help="bind them to a ServiceAccount")


def _add_completion(commands: _Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description=f'Print a completion script: eval "$({PROGRAM} completion bash)"',
    )
    completion.add_argument("shell", choices=_SHELLS)


def _takes_contexts(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Describe a command that pytest parses; this parser only prints its help."""
    parser.add_argument("contexts", nargs="?", metavar="A,B", help="contexts, or env")
    for option in options:
        parser.add_argument(option.flag, **option.arguments())


_BASH = """\
_splithorizon() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
  if [ "$COMP_CWORD" = 1 ]; then
    words='{commands}'
  else
    case "$before" in
      {profile}) words='{profiles}' ;;
{files}
      *)
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
        ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _splithorizon {program}"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def _completion(shell: str) -> str:
    """The script; where it has no word to offer, the shell completes names of files."""
    commands = {command: _actions_of(parser) for command, parser in _commands(_parser()).items()}
    words = {command: [word for one in actions for word in _words_of(one)] for command, actions in commands.items()}
    with_path = sorted(
        {flag for actions in commands.values() for one in actions if one.type is Path for flag in one.option_strings}
    )
    script = _BASH.format(
        program=PROGRAM,
        commands=" ".join([*commands, "--help", "--version"]),
        profile="--profile",
        profiles=" ".join([*Profile, "all"]),
        files=f"      {'|'.join(with_path)}) ;;",
        options="\n".join(
            f"          {command}) words='{' '.join(sorted(given, key='--help'.__eq__))}' ;;"
            for command, given in words.items()
        ),
    )
    return (_ZSH if shell == "zsh" else "") + script


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command, by the command."""
    return next(one.choices for one in _actions_of(parser) if isinstance(one.choices, dict))


def _actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # argparse has no public list of a parser's options


def _words_of(action: argparse.Action) -> list[str]:
    """What may be typed for it: its long flags, or the choices of an argument without a flag."""
    flags = [flag for flag in action.option_strings if flag.startswith("--")]
    return flags or [str(choice) for choice in action.choices or ()]


if __name__ == "__main__":
    sys.exit(main())
