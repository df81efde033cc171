"""The command that explains predictions: `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli.options import AsJson, Data, DataOverrides, Model, Split, TaskName, TasksFile
from llmkit.system.errors import UserError


def explain(
    model: Model,
    overrides: DataOverrides = None,
    question: Annotated[str | None, typer.Option("-q", "--question", help="Question whose answer to explain.")] = None,
    context: Annotated[str | None, typer.Option("-c", "--context", help="Passage of the question.")] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Text file with the passage.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("-t", "--text", help="Text whose label, number or tag to explain.")
    ] = None,
    pair: Annotated[str | None, typer.Option("--pair", help="Second text, for a task on pairs.")] = None,
    example: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Id of an example of the data; rows without ids are numbered from 0."),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option("--check", metavar="N", min=1, help="Check by deletion over N examples of the data."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label or tag to explain.", show_default="the predicted one")
    ] = None,
    word: Annotated[
        str | None,
        typer.Option(
            "--word",
            help="Word whose tag to explain, or its number from 1.",
            show_default="the first with a tag other than O",
        ),
    ] = None,
    task: TaskName = None,
    tasks_file: TasksFile = None,
    data: Data = None,
    split: Split = "validation",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.html", help="Write a page that opens offline.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which words of an input carry the model's answer.

    Weighs each word by integrated gradients and by occlusion, says how far they agree, and checks both by deletion: the
    answer's number must fall faster without the top words than without random ones. With --check, does so over many
    examples. Needs `pip install "llmkit[explain]"`.

    \b
    Examples:
      llmkit explain runs/demo/squad -q "Who founded Ambury?" -c "Ambury was founded by Tom Reed in 1820."
      llmkit explain runs/demo/squad --check 100 -o check.html
    """
    from llmkit.commands import explain as command
    from llmkit.commands import explain_shown as shown
    from llmkit.commands.ask import passage_of
    from llmkit.evidence.explanation_page import write_check, write_explanation
    from llmkit.evidence.page import check_page
    from llmkit.system.console import print_json
    from llmkit.tasks.explained import Typed, Wanted
    from llmkit.tasks.settings import settings_of

    is_typed = (question, context, file, text, pair) != (None,) * 5
    if is_typed + (example is not None) + (check is not None) != 1:
        raise UserError(
            "explain takes one of: a question, a text, an example of the data, a check",
            remedy="give -q QUESTION -c PASSAGE, -t TEXT, --id ID or --check N",
        )
    if is_typed and data is not None:
        raise UserError(
            "--data has no effect on an input that is typed", remedy="leave it out, or name a row with --id"
        )
    if check is not None and word is not None:
        raise UserError("--word has no effect with --check", remedy="leave it out: each sentence has its own words")
    if output is not None:
        check_page(output)
    wanted = Wanted(label, word)
    if check is not None:
        settings = settings_of(model, task, data, overrides or ())
        found = command.check(settings, split, check, wanted)
        print_json(found.as_row()) if as_json else shown.show_check(found, f"{settings.task.item}s")
        if output is not None:
            write_check(found, output, model)
        return
    if example is not None:
        settings = settings_of(model, task, data, overrides or ())
        answer = command.explain_row(settings, split, example, wanted)
    else:
        passage = passage_of(context, file) if (question, context, file) != (None, None, None) else None
        typed = Typed(question, passage, text, pair)
        answer = command.explain_typed(model, typed, wanted, task, overrides or ())
    print_json(answer.as_row()) if as_json else shown.show(answer)
    if output is not None:
        write_explanation(answer.explanation, output, model)
