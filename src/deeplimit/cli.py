"""The command line: parse, call, print."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplimit import __version__
from deeplimit.checks import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from deeplimit.bench import Sheet
    from deeplimit.claims import Claim, Verdict
    from deeplimit.data.files import FileStatus, SetStatus
    from deeplimit.diagnosis.comparing import Comparison, Timeline
    from deeplimit.diagnosis.report import Report
    from deeplimit.diagnosis.tasks import Options
    from deeplimit.diagnosis.telling.conditions import Condition
    from deeplimit.engines.listing import Listing
    from deeplimit.records.outputs import Page
    from deeplimit.study import Conclusion, Execution, Request, Subject
    from deeplimit.sweeps import Expectation, Job, Outcome

#: Seconds between two lines about one run, where there is no terminal.
QUIET = 30.0
#: Claims up to this number are printed one by one.
FEW = 20

app = typer.Typer(
    help="Train deep residual networks and measure what they become as depth, training time and width grow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="List, download and verify the image data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")
l2 = typer.Typer(
    help="Choose an L2 coefficient before a run, and convert one.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(l2, name="l2")

Only = Annotated[list[str] | None, typer.Option("--only", help="A study, figure or claim; may be given several times.")]
More = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="More names for --only.")]
Tier = Annotated[str, typer.Option(help="Sizes: quick (minutes), paper (those of the paper, within an hour) or full.")]
Out = Annotated[
    str | None, typer.Option(metavar="PATH", help="Output directory; results/NAME-TIER unless given.")
]  # text: a Path does not tell an empty one from the current folder
Engine = Annotated[str, typer.Option(help="How stacks are evaluated: auto, or the name of an engine.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64, in place of the studies' own.")]
Threads = Annotated[int, typer.Option(help="PyTorch threads of each worker.")]
Seeds = Annotated[
    int | None, typer.Option(help="Replicates added to the authors' seeds, in place of the studies' own.")
]
Workers = Annotated[
    int | None, typer.Option(help="Processes; as many as the processors here have threads for, unless given.")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only algorithms that give the same bits every time; slower on a GPU.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Data directory; what DEEPLIMIT_DATA says, or a cache of yours, unless given.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and compute nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON; progress goes to stderr.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 1 unless every decidable claim has the verdict expected of it.")
]
Rate = Annotated[float, typer.Option("--learning-rate", help="Of the optimiser, as typed; the first of a schedule.")]
Momentum = Annotated[float, typer.Option(help="m of the heavy ball; not β₁ of Adam.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples of a batch.")]


def _version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        typer.echo(f"deeplimit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The program without a command."""


@app.command("list")
def list_(
    paper: Annotated[str | None, typer.Argument(metavar="PAPER", help="Name of a paper.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Show the claims of the paper.")] = False,
) -> None:
    """List the papers, or the studies, figures and claims of one."""
    from deeplimit.papers import PAPERS, load

    if paper is None:
        for name in PAPERS:
            _say(f"{name}  {load(name).title}\n    {load(name).citation}\n    {_counts(load(name))}")
        return
    subject = load(paper)
    _say(f"{subject.title}\n{subject.citation}")
    for study in subject.studies:
        _say(f"\n{study.name}  {study.title}  ({', '.join(study.tiers)})")
        for figure in study.figures:
            _say(f"    figure {figure.id}  {figure.title}")
        for claim in study.claims if claims else ():
            _say(_described(claim))
    if not claims:
        _say(f"\n{_counts(subject)}; deeplimit list {paper} --claims shows them")


def _described(claim: Claim) -> str:
    """A claim in two lines."""
    band = {"within": "{0:g} ± {1:g}", "at most": "at most {0:g} + {1:g}", "at least": "at least {0:g} − {1:g}"}
    expected = band[claim.relation].format(claim.expected, claim.tolerance)
    tiers = ", ".join(claim.tiers)
    return (
        f"    claim {claim.id}  {claim.statement}\n"
        f"        {claim.where}; {claim.quantity}: {expected} ({claim.source}); decided at {tiers}"
    )


def _counts(subject: Subject) -> str:
    """Numbers of studies, figures and claims."""
    figures = sum(len(study.figures) for study in subject.studies)
    return f"studies: {len(subject.studies)}, figures: {figures}, claims: {len(subject.claims)}"


@app.command()
def reproduce(
    *,
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="Name of a paper, or all.")],
    more: More = None,
    only: Only = None,
    tier: Tier = "quick",
    out: Out = None,
    engine: Engine = "auto",
    device: Device = "cpu",
    dtype: Dtype = None,
    threads: Threads = 1,
    seeds: Seeds = None,
    workers: Workers = None,
    deterministic: Deterministic = False,
    data_dir: DataDir = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    strict: Strict = False,
) -> None:
    """Compute a paper's figures and claims and report."""
    from deeplimit.data.files import use_directory
    from deeplimit.papers import PAPERS, load
    from deeplimit.records import output_folder
    from deeplimit.study import Execution, Request

    use_directory(data_dir)
    execution = Execution(engine, device, threads, _workers(workers, threads, device), deterministic)
    look = Look(dry_run, json, strict)
    worst = 0
    for name in PAPERS if paper == "all" else [paper]:
        request = Request("paper", name, tier=tier, only=_only(only, more), seeds=seeds, dtype=dtype)
        inside = name if paper == "all" else ""
        folder = Path("results") / f"{name}-{tier}" if out is None else output_folder(out) / inside
        worst = max(worst, _serve(load(name), request, out=folder, execution=execution, look=look))
    raise typer.Exit(worst)


@app.command()
def study(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Python file with `study = Study(…)`.")],
    more: More = None,
    only: Only = None,
    tier: Tier = "quick",
    out: Out = None,
    engine: Engine = "auto",
    device: Device = "cpu",
    dtype: Dtype = None,
    threads: Threads = 1,
    seeds: Seeds = None,
    workers: Workers = None,
    deterministic: Deterministic = False,
    data_dir: DataDir = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    strict: Strict = False,
) -> None:
    """Run the studies of a file of your own and report."""
    from deeplimit.data.files import use_directory
    from deeplimit.records import output_folder
    from deeplimit.study import Execution, Request, load_file

    use_directory(data_dir)
    execution = Execution(engine, device, threads, _workers(workers, threads, device), deterministic)
    home = str(file.resolve().parent)
    request = Request("file", str(file), tier=tier, only=_only(only, more), seeds=seeds, dtype=dtype, folder=home)
    folder = Path("results") / f"{file.stem}-{tier}" if out is None else output_folder(out)
    raise typer.Exit(
        _serve(load_file(file), request, out=folder, execution=execution, look=Look(dry_run, json, strict))
    )


@app.command()
def report(
    *,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Output directory of an earlier run.")],
    file: Annotated[
        Path | None, typer.Option("--study", metavar="FILE", help="The study file it was made by, if it is no paper's.")
    ] = None,
    json: AsJson = False,
    strict: Strict = False,
) -> None:
    """Draw the report of a directory again from its rows.

    Its claims and figures are code: of the paper in this program, or of the study file that --study names. No code in DIR is run.
    """
    from deeplimit.papers import load
    from deeplimit.study import carry_out, remembered, subject_of_file

    request = remembered(directory)
    if request.kind == "paper" and file is not None:
        raise InputError(f"--study: expected none, as {directory} is of the paper {request.name}; found {file}")
    subject = load(request.name) if request.kind == "paper" else subject_of_file(directory, request, file=file)
    done = carry_out(subject, request, out=directory)
    raise typer.Exit(_tell(done, Look(json=json, strict=strict)))


@app.command()
def demo(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
) -> None:
    """Write files to try the commands on, and say what to try."""
    from deeplimit.demo import write_demo

    rows = write_demo(directory)
    _say(f"written to {directory}: trained networks, a module with a batch, a study. To try:")
    for row in rows:
        _say(f"\n{row.command}\n    {row.shows}")


@app.command()
def bench(
    *,
    more: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="More names for --only.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="A name of --list.")] = None,
    contestants: Annotated[
        str, typer.Option(help="Names with commas, such as torch,reference,plain,compile,jax; all unless given.")
    ] = "",
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of each case; as many as time allows unless given.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the contestants with several; as many as processors unless given.")
    ] = None,
    saved: Annotated[Path | None, typer.Option(help="Measure nothing; print what --json printed to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the results of benchmarks/README.md.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what can be measured, and measure nothing.")] = False,
) -> None:
    """Measure what a layer costs, beside plain PyTorch and JAX, and a training step."""
    from deeplimit import bench as benchmark
    from deeplimit.machine import processors

    if list_:
        _print_sheet(benchmark.cases_sheet())
        return
    names = tuple(name for name in contestants.split(",") if name)
    options = benchmark.Options(_only(only, more), names, rounds, processors() if threads is None else threads)
    found = benchmark.read(saved) if saved else benchmark.bench(options, say=lambda text: _say(text, sys.stderr))
    if json or markdown:
        _say(found.json() if json else benchmark.markdown(found))
        return
    _say(benchmark.machine_line(found.machine))
    for sheet in benchmark.sheets(found):
        _print_sheet(sheet)
    for line in benchmark.missing_lines(found):
        _say(line)


@app.command()
def engines(*, json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False) -> None:
    """List the engines, and which one runs a branch, and why."""
    from dataclasses import asdict
    from json import dumps

    from deeplimit.engines.listing import listing

    found = listing()
    if json:
        _say(dumps(asdict(found), indent=1, ensure_ascii=False))
        return
    for table in _engine_tables(found):
        _print_table(table, Look())


@data.command("list")
def data_list(
    *,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the data sets, and which of their files are there."""
    from deeplimit.data import files
    from deeplimit.data.sets import SETS

    found = [files.status(known, files.data_directory(data_dir)) for known in SETS.values()]
    if json:
        _print_as_json(found)
        return
    for row in found:
        there = f"{len(row.there)} of {len(row.there) + len(row.missing)} files in {row.folder}"
        _say(f"{row.name}  {row.title}\n    {there}\n    {row.home}; {row.terms}")
        if row.there and row.missing:
            _say(f"    missing: {', '.join(row.missing)}")


@data.command("fetch")
def data_fetch(
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of data sets, or all.")],
    data_dir: DataDir = None,
) -> None:
    """Download what is missing of data sets, verified."""
    from deeplimit.data.fetching import fetch
    from deeplimit.data.files import data_directory
    from deeplimit.data.sets import chosen

    directory = data_directory(data_dir)
    for known in chosen(names):
        fetch(known, directory, say=lambda text: _say(text, sys.stderr))
        _say(f"{known.name}: complete in {directory / known.folder}")


@data.command("check")
def data_check(
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Names; all unless given.")] = None,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare every file with its checksum; exit 2 where one is missing or is not the original."""
    from deeplimit.data import files
    from deeplimit.data.sets import chosen

    directory = files.data_directory(data_dir)
    found = [row for known in chosen(names or ()) for row in files.check(known, directory)]
    if json:
        _print_as_json(found)
    for row in found if not json else ():
        _say(f"{row.set}/{row.file}: {row.problem or 'right'}")
    raise typer.Exit(2 if any(row.problem for row in found) else 0)


@app.command("regime")
def regime_(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="safetensors files, one a run.")],
    json: Annotated[bool, typer.Option("--json", help="Print both verdicts with their numbers as JSON.")] = False,
) -> None:
    """Say what the weights and the function of networks of growing depth become.

    A file holds the weights of one run: for each role a tensor whose first axis is the depth. Hidden states on inputs that all files
    share, as the tensor states, give the verdict on the function; initial.ROLE, that on learning.
    """
    from json import dumps

    from deeplimit.regimes import regime
    from deeplimit.regimes.files import read_runs

    found = regime(read_runs(files))
    _say(dumps(found.as_json(), indent=1, ensure_ascii=False) if json else str(found))


@app.command()
def diagnose(
    *,
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="A network; two of them; a folder of checkpoints.")
    ],
    list_: Annotated[bool, typer.Option("--list", help="Show the blocks and roles that are found, and stop.")] = False,
    group: Annotated[str | None, typer.Option(help="Name of one group of blocks; all unless given.")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="A role; may be given several times.")] = None,
    batch: Annotated[
        Path | None, typer.Option(help="Inputs for a verdict on the function: a safetensors, .npy or .npz file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    html: Annotated[str | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --html, whatever it is.")] = False,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", help="Exit 1 where this holds; may be given several times.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 where --fail-if cannot be decided, too.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Let a library fetch weights that are not here.")
    ] = False,
    family: Annotated[
        bool, typer.Option("--family", help="Judge networks of three or more depths as one family.")
    ] = False,
) -> None:
    """Say which regime a trained network is in, and whether its depth is used.

    TARGET is a safetensors, PyTorch or ONNX file, a model folder, a name in timm or transformers, or MODULE:FUNCTION that returns a module.
    With two targets, the second is compared with the first; with a folder of checkpoints, diagnosed over training time. docs/diagnose.md
    says more, and what --fail-if takes: weights == rough, findings.dead > 0, max(update_ratio) > 0.5, joined by and, or, not.
    """
    from deeplimit.diagnosis import tasks
    from deeplimit.diagnosis.telling import conditions

    parsed = [conditions.parse(text) for text in fail_if or ()]
    page = _page(html, [*targets, str(batch or "")], force=force)
    inputs = None if batch is None else _batch(batch)
    options = tasks.Options(group, tuple(role or ()), inputs, download, Reading())
    if list_ or family:
        if parsed or page:
            raise InputError("--list and --family: expected neither --fail-if nor --html, found one")
        _print_family(targets, options, json=json) if family else _print_groups(targets, options, json=json)
        return
    found, report = tasks.carry_out(targets, options)
    _print_diagnosis(found, json=json)
    if page is not None:
        from deeplimit.report.diagnosis import render

        page.write(render(found))
        _say(f"page: {html}", sys.stderr)
    raise typer.Exit(_failed(parsed, report, strict=strict))


def _page(file: str | None, read: Sequence[str], *, force: bool) -> Page | None:
    """The page of --html, if there is to be one; it may be nothing that is read."""
    from deeplimit.diagnosis.sources.target import files_of
    from deeplimit.records.outputs import Page

    if file is None:
        return None
    return Page("--html", file, "deeplimit diagnose", [path for text in read for path in files_of(text)], force)


def _batch(file: Path) -> object:
    """A batch of inputs."""
    from deeplimit.diagnosis.batches import read_batch

    return read_batch(file)


def _print_groups(targets: Sequence[str], options: Options, *, json: bool) -> None:
    """Print what is found in networks."""
    from dataclasses import asdict
    from json import dumps

    from deeplimit.diagnosis.tasks import find
    from deeplimit.diagnosis.telling.text import listing

    for target in targets:
        groups = find(target, options)[1]
        if json:
            _say(dumps([asdict(group) for group in groups], indent=1, ensure_ascii=False))
        else:
            _print(listing(groups))


def _print_family(targets: Sequence[str], options: Options, *, json: bool) -> None:
    """Print the regime of networks of growing depth."""
    from json import dumps

    from deeplimit.diagnosis.tasks import as_family

    found = as_family(targets, options)
    _say(dumps(found.as_json(), indent=1, ensure_ascii=False) if json else str(found))


def _print_diagnosis(found: Report | Comparison | Timeline, *, json: bool) -> None:
    """Print a diagnosis, a comparison or a timeline."""
    from json import dumps

    from deeplimit.diagnosis.comparing import Comparison, Timeline
    from deeplimit.diagnosis.telling.side_by_side import comparison_text, timeline_text
    from deeplimit.diagnosis.telling.text import text

    if json:
        _say(dumps(found.as_json(), indent=1, ensure_ascii=False))
    elif isinstance(found, Comparison):
        _print(comparison_text(found))
    elif isinstance(found, Timeline):
        _print(timeline_text(found))
    else:
        _print(text(found))


def _failed(parsed: Sequence[Condition], report: Report, *, strict: bool) -> int:
    """Say which conditions hold, and which cannot be decided; returns the exit status."""
    from deeplimit.diagnosis.telling.conditions import judge

    outcomes = [outcome for condition in parsed for outcome in judge(condition, report)]
    for outcome in outcomes:
        if outcome.holds is not False:
            _say(f"--fail-if {outcome}", sys.stderr)
    return int(any(outcome.holds or (strict and outcome.holds is None) for outcome in outcomes))


@l2.command("predict")
def l2_predict(
    *,
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Your training; see below.")],
    budget: Annotated[int, typer.Option(help="Steps of the run that the coefficient is for.")],
    learning_rate: Rate,
    weight_decay: Annotated[float, typer.Option(help="Coefficient of the first probe: a large one.")],
    convention: Annotated[str, typer.Option(help="What the coefficient means; see `l2 convert`.")] = "house",
    momentum: Momentum = 0.0,
    batch_size: BatchSize = None,
    classes: Annotated[int | None, typer.Option(help="Their number; 10 unless given.")] = None,
    train_samples: Annotated[int | None, typer.Option(help="Of the training set, for the rule in epochs.")] = None,
    tokens_per_parameter: Annotated[
        float | None, typer.Option(help="Of the run, for the rule of language models.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of a probe; a quarter of 5 % of the budget unless given.")] = None,
    seeds: Annotated[int, typer.Option(help="Probes with the coefficient that peaks, as far as 5 % go.")] = 1,
    chance: Annotated[float | None, typer.Option(help="Accuracy of guessing; 1/classes unless given.")] = None,
    samples: Annotated[int | None, typer.Option(help="On how many samples an accuracy is measured.")] = None,
    within: Annotated[float, typer.Option(help="Distance from the maximum at which an accuracy has peaked.")] = 0.005,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Predict the L2 coefficient for a budget of steps from short probes of your own training.

    FUNCTION is called with the keyword arguments weight_decay, learning_rate, steps and seed, and yields
    (step, validation accuracy) or (step, validation accuracy, training accuracy) with increasing steps and accuracies between 0 and 1,
    NaN where it diverges. MODULE is a module or a file that ends in .py. What it prints goes to stderr.
    """
    from contextlib import redirect_stdout
    from json import dumps

    from deeplimit.checks import integer
    from deeplimit.failures import users_code
    from deeplimit.loading import load_function
    from deeplimit.training.l2 import Reading, Setting, predict_weight_decay, probe, shrinkage
    from deeplimit.training.l2.probes import MOST_SEEDS

    setting = Setting(learning_rate, momentum, budget, batch_size, classes, train_samples, tokens_per_parameter)
    shrinkage(weight_decay, setting, source=convention)  # what is missing is said before a probe is waited for
    reading = Reading(within=within, chance=_chance(chance, classes), samples=samples)
    train, numbers = load_function(function), range(integer("seeds", seeds, 1, MOST_SEEDS))
    with redirect_stdout(sys.stderr), users_code(function):
        probes = probe(train, setting, weight_decay=weight_decay, reading=reading, seeds=numbers, steps=steps)
    found = predict_weight_decay(
        probes.curves, setting, weight_decay=probes.weight_decay, source=convention, reading=reading
    )
    both = {"probe": probes.as_json(), "prediction": found.as_json()}
    _say(dumps(both, indent=1, ensure_ascii=False) if json else f"{probes}\n{found}")


def _chance(asked: float | None, classes: int | None) -> float:
    """Accuracy of guessing: what was said, or that of so many classes, ten unless given."""
    return 1 / (classes or 10) if asked is None else asked


@l2.command("convert")
def l2_convert(
    *,
    weight_decay: Annotated[float, typer.Argument(metavar="NUMBER", help="The coefficient to convert.")],
    source: Annotated[str, typer.Option("--from", help="Its convention, such as lewkowycz2020 or torch-sgd.")],
    target: Annotated[str, typer.Option("--to", help="The convention wanted, such as torch-adamw or house.")],
    learning_rate: Rate,
    momentum: Momentum = 0.0,
    classes: Annotated[int | None, typer.Option(help="Where a loss is divided by their number.")] = None,
    batch_size: BatchSize = None,
    steps: Annotated[int | None, typer.Option(help="Of the run, where a weight decay is normalised by them.")] = None,
    target_learning_rate: Annotated[float | None, typer.Option(help="For another optimiser; else it follows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Convert an L2 coefficient, and the learning rate that goes with it, from one convention to another."""
    from json import dumps

    from deeplimit.training.l2 import Setting, convert

    setting = Setting(learning_rate, momentum, steps=steps, batch_size=batch_size, classes=classes)
    found = convert(weight_decay, setting, source=source, target=target, learning_rate=target_learning_rate)
    _say(dumps(found.as_json(), indent=1, ensure_ascii=False) if json else str(found))


def _workers(asked: int | None, threads: int, device: str) -> int:
    """The number of processes: what was asked for, else one per `threads` processors, and one alone on an accelerator."""
    from deeplimit.machine import processors

    if asked is not None or device != "cpu" or threads < 1:
        return 1 if asked is None else asked
    return max(1, processors() // threads)


@dataclass(frozen=True)
class Look:
    """What is printed, and what counts as success."""

    dry_run: bool = False
    json: bool = False
    strict: bool = False


def _only(only: Sequence[str] | None, more: Sequence[str] | None) -> tuple[str, ...]:
    """Names given as `--only A --only B`, `--only A B` or `--only A,B`."""
    if more and not only:
        raise InputError(f"arguments: expected one, or names after --only; found {' '.join(more)} too")
    return tuple(name for text in [*(only or ()), *(more or ())] for name in text.split(",") if name)


def _serve(subject: Subject, request: Request, *, out: Path, execution: Execution, look: Look) -> int:
    """Do what is asked, or say what it would take; returns the exit status."""
    from deeplimit.study import carry_out

    if look.dry_run:
        return _foresee(subject, request, out=out, execution=execution, look=look)
    reporter = Bars() if sys.stderr.isatty() else Lines()
    return _tell(carry_out(subject, request, out=out, execution=execution, reporter=reporter), look)


def _foresee(subject: Subject, request: Request, *, out: Path, execution: Execution, look: Look) -> int:
    """Say what it would take, which runs are stale and why, and what cannot be followed; returns the exit status."""
    from deeplimit.records import Store
    from deeplimit.study import expectations, foresee, plan, stale

    studies, store = subject.select(request.only).studies, Store(out)
    planned = plan(studies, request, store=store)
    notes = foresee(subject, request, planned=planned, store=store)
    parts = expectations(studies, planned, store=store, execution=execution, say=notes.append)
    for note in notes:
        _say(f"note: {note}", sys.stderr)
    _print_table(_expected(parts), look)
    for line in [*stale(planned, store), *(f"not followed: {note}" for note in planned.unfollowed)]:
        _say(line)
    if parts[-1][1].lack:
        raise InputError(parts[-1][1].lack)
    if any(need.unknown for _, need in parts):
        _say("runs without a time lack something that they need here, data most often", sys.stderr)
    return 0


# Printing ----------------------------------------------------------------------------------------------------------


#: Characters that command a terminal; names of files and of a user's study may hold some. `\\u001b` is right in JSON, too.
CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def _say(text: str, stream: object = None) -> None:
    """Print text, its control characters in words."""
    typer.echo(text.translate(CONTROLS), file=stream)  # type: ignore[arg-type]


def _tell(done: Conclusion, look: Look) -> int:
    """Print what came of it; returns the exit status."""
    from deeplimit.study import unexpected

    stream = sys.stderr if look.json else sys.stdout
    if look.json:
        _print_json(done)
    for failure in done.failures:
        _say(f"failed: {failure.name}: {failure.error}\n    specification and trace: {failure.file}", stream=sys.stderr)
    for note in done.notes:
        _say(f"note: {note}", stream=sys.stderr)
    surprises = unexpected(done.verdicts)
    for part in _concluded(done, surprises):
        _print_table(part, look)
    for verdict in surprises if look.strict else ():
        claim = verdict.claim
        _say(
            f"expected {claim.expected_ruling}, found {verdict.ruling}: {claim.id} ({verdict.reason})",
            stream=sys.stderr,
        )
    _say(f"runs: {done.computed} computed, {done.reused} complete before, {len(done.failures)} failed", stream=stream)
    _say("seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in done.stages.items()), stream=stream)
    _say(f"report: {done.report}", stream=stream)
    return int(bool(done.failures) or (look.strict and bool(surprises)))


def _print_json(done: Conclusion) -> None:
    """Print the verdicts as JSON."""
    from json import dumps

    from deeplimit.report import verdict_json

    _say(dumps(verdict_json(done.verdicts), indent=1, ensure_ascii=False))


def _print_as_json(rows: Sequence[SetStatus | FileStatus]) -> None:
    """Print rows as JSON."""
    from dataclasses import asdict
    from json import dumps

    _say(dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))


def _print_sheet(sheet: Sheet) -> None:
    """Print a table of text, its blocks apart."""
    from rich import box
    from rich.table import Table

    table = Table(*sheet.header, box=box.SIMPLE)
    for block in sheet.blocks:
        for row in block:
            table.add_row(*row)
        table.add_section()
    _print_table(table, Look())


def _print_table(table: RenderableType, look: Look) -> None:
    """Print a table, as wide as it needs where there is no terminal."""
    from rich.console import Console

    stream = sys.stderr if look.json else sys.stdout
    Console(file=stream, width=None if stream.isatty() else 200, highlight=False).print(table)


def _print(part: RenderableType) -> None:
    """Print for a terminal, as wide as that is, and 100 columns wide where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(part)


def _engine_tables(found: Listing) -> list[Table]:
    """The engines, the instruction sets of the native one where it is there, and what `auto` takes."""
    from rich import box
    from rich.table import Table

    there = Table("engine", "there", box=box.SIMPLE)
    for engine in found.engines:
        there.add_row(engine.name, f"no: {engine.missing}" if engine.missing else "yes")
    sets = Table("instruction set", "this processor has it", "in use", box=box.SIMPLE)
    for row in found.instruction_sets:
        sets.add_row(row.name, "yes" if row.available else "no", "yes" if row.in_use else "no")
    auto = Table("branch", "auto takes", "why", box=box.SIMPLE)
    for choice in found.auto:
        auto.add_row(choice.branch, choice.engine, choice.why)
    return [there, sets, auto] if found.instruction_sets else [there, auto]


def _concluded(done: Conclusion, surprises: Sequence[Verdict]) -> Iterator[RenderableType]:
    """What was found, in lines that people read: every claim of a few; of many, their numbers and those that are not as expected."""
    from deeplimit.report import undecided

    count = len(done.verdicts)
    shown = done.verdicts
    if count > FEW:
        yield _counted(done)
        shown = [verdict for verdict in surprises if verdict.why != "files"]
        yield f"not as expected: {len(shown)}"
    if shown:
        yield _judged(shown[:FEW], whole=done.verdicts)
    if len(shown) > FEW:
        yield f"and {len(shown) - FEW} more: see the report"
    parts = undecided(done.verdicts)
    if parts:
        yield f"undecided {sum(verdict.ruling == 'undecided' for verdict in done.verdicts)}: {', '.join(parts)}"
    if not count:
        yield f"claims: none; figures: {', '.join(done.figures) or 'none'}; rows of: {', '.join(done.quantities) or 'none'}"


def _judged(verdicts: Sequence[Verdict], *, whole: Sequence[Verdict]) -> Table:
    """One line a claim; ids without what all of the report begin with."""
    from rich import box
    from rich.table import Table

    from deeplimit.report import common_prefix
    from deeplimit.report.formats import expected, measured

    remark = {True: "", False: ", unexpected", None: ""}
    prefix = common_prefix(whole)
    table = Table("value", "interval", "expected", "verdict", "claim", box=box.SIMPLE)
    table.columns[-1].overflow = "fold"
    for verdict in verdicts:
        value, interval = measured(verdict.measured) if verdict.measured else ("—", "")
        ruling = verdict.ruling + remark[verdict.as_expected]
        table.add_row(value, interval, expected(verdict.claim), ruling, verdict.claim.id.removeprefix(prefix))
    return table


def _counted(done: Conclusion) -> Table:
    """How many claims have each verdict, and how many of those it was expected of."""
    from rich import box
    from rich.table import Table

    table = Table("verdict", "claims", "as expected", box=box.SIMPLE)
    for ruling in ("reproduced", "not reproduced", "undecided", "unverifiable"):
        found = [verdict for verdict in done.verdicts if verdict.ruling == ruling]
        table.add_row(ruling, str(len(found)), str(sum(v.claim.expected_ruling == ruling for v in found)))
    return table


def _expected(parts: Sequence[tuple[str, Expectation]]) -> Table:
    """What a run would take."""
    from rich import box
    from rich.table import Table

    table = Table("study", "runs", "time", "memory", "disk", box=box.SIMPLE)
    for name, need in parts:
        time = _time(need.seconds) + (f" + {need.unknown} runs" if need.unknown else "")
        table.add_row(name, str(need.runs), time, _size(need.memory_bytes), _size(need.disk_bytes))
    return table


def _time(seconds: float) -> str:
    """A duration for people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


class Reading:
    """How many tensors were read: one line that is written over on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Say it, if nothing was said for a while."""
        over = self.terminal and done == total
        if over or time.monotonic() - self.said > (0.2 if self.terminal else QUIET):
            self.said = time.monotonic()
            typer.echo(
                f"\rtensors read: {done} of {total} " if self.terminal else f"tensors read: {done} of {total}",
                file=sys.stderr,
                nl=over or not self.terminal,
            )


class Lines:
    """Progress as plain lines: one per finished run, and now and then one about a long run."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Say how many runs there are."""
        from deeplimit.sweeps import Pace

        self.pace = Pace(jobs)
        self.said = time.monotonic()
        _say(f"runs: {len(jobs)} to compute, {reused} complete", stream=sys.stderr)

    def advance(self, job: Job, fraction: float) -> None:
        """Say where a long run is, if nothing was said for a while."""
        self.pace.advance(job, fraction)
        if time.monotonic() - self.said > QUIET:
            self._line(f"{job.name}: {fraction:.0%}")

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Say that a run is complete."""
        self.pace.finish(job)
        self._line(f"{job.name}: " + (f"failed: {outcome.error}" if outcome.error else _time(outcome.seconds)))

    def _line(self, text: str) -> None:
        self.said = time.monotonic()
        left = f", {_time(self.pace.seconds_left)} left" if self.pace.finished < self.pace.count else ""
        _say(f"[{self.pace.finished}/{self.pace.count}] {text}{left}", stream=sys.stderr)

    def note(self, text: str) -> None:
        """Say it."""
        _say(f"note: {text}", stream=sys.stderr)

    def end(self) -> None:
        """Say nothing."""


class Bars:
    """Progress as a bar with the time left, on a terminal."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        from deeplimit.sweeps import Pace

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self.pace = Pace(jobs)
        self.progress = Progress(*columns, *times, console=Console(stderr=True))
        self.bar = self.progress.add_task(f"runs: {len(jobs)} to compute, {reused} complete", total=1.0)
        self.progress.start()

    def advance(self, job: Job, fraction: float) -> None:
        """Move the bar."""
        self.pace.advance(job, fraction)
        self._show(job.name)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Move the bar; say it above the bar when a run failed."""
        self.pace.finish(job)
        self._show(job.name)
        if outcome.error:
            self.progress.console.print(f"failed: {job.name}: {outcome.error}", markup=False)

    def _show(self, name: str) -> None:
        text = f"[{self.pace.finished}/{self.pace.count}] {name}".replace("[", r"\[")
        self.progress.update(self.bar, completed=self.pace.fraction, description=text)

    def note(self, text: str) -> None:
        """Say it before the bar is there."""
        _say(f"note: {text}", stream=sys.stderr)

    def end(self) -> None:
        """Take the bar away."""
        self.progress.stop()
