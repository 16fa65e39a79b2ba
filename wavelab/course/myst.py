"""Turn MyST into plain Markdown: fenced blocks, and in the prose between them roles, formulas, targets and links."""

from __future__ import annotations

import re
import textwrap

import yaml

from wavelab.course.citations import cite
from wavelab.course.directives import Block, directive, formula
from wavelab.course.links import Page, anchor, link, reference

_FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}(?!`)|~{3,}(?!~)|:{3,}(?=\{))(?P<info>[^`\n]*)\n(?P<body>(?:.*\n)*?)"
    r"[ \t]*(?P=fence)[`~:]*[ \t]*$",
    re.MULTILINE,
)
_OPTIONS = re.compile(r"---\n(?P<yaml>[\s\S]*?)^---[ \t]*\n|(?:[ \t]*:[\w-]+:.*\n)*", re.MULTILINE)
_PIECE = r"(?:.|\n(?!\s*\n))"  # a character inside one paragraph
_TOKEN = re.compile(
    rf"""
      (?P<comment>^[ ]{{0,3}}%.*\n?)
    | (?P<target>^\((?P<id>[\w:.-]+)\)=[ \t]*$(?=(?:\s*\([\w:.-]+\)=)*\s*(?:\#+[ ]+(?P<of>.*))?))
    | (?P<heading>^(?P<level>\#{{1,6}})[ ]+(?P<title>.*\S))
    | (?P<display>^(?P<pad>[ \t]*)\$\$(?P<tex>(?:(?!\$\$)[\s\S])+)\$\$[ \t]*(?:\((?P<tag>[\w:.-]+)\))?[ \t]*$)
    | (?P<amsmath>^\\begin\{{(?P<env>(?:align|gather|equation)\*?)\}}[\s\S]+?\\end\{{(?P=env)\}})
    | (?P<stray>(?<![`:~])(?:`{{3,}}|:{{3,}}|~{{3,}})\{{[\w:.-]+\}}|\{{\{{\s*\w+\s*\}}\}})
    | (?P<role>\{{(?P<name>[a-z][\w:.-]*)\}}(?P<tick>`+)(?P<content>{_PIECE}+?)(?<!`)(?P=tick)(?!`))
    | (?P<code>(?<!`)(?P<ticks>`+)(?!`){_PIECE}+?(?<!`)(?P=ticks)(?!`))
    | (?P<maths>(?P<dollar>\$\$?)(?:\\[\s\S]|(?!\\|(?P=dollar)){_PIECE})+(?P=dollar))
    | (?P<footnote>\[\^(?P<mark>[\w-]+)\](?P<colon>:?))
    | (?P<link>(?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^\s()]+)(?P<hover>\s+"[^"]*")?\))
    | \\. | <!--[\s\S]*?-->
    """,
    re.MULTILINE | re.VERBOSE,
)


def render(page: Page, text: str) -> str:
    """Turn MyST into plain Markdown: fenced blocks one after another, what stands between them as prose.

    Args:
        page: the page that the text is a part of; what the text defines and cites is noted there.
        text: MyST Markdown without a header.

    Returns:
        Markdown. Where the page is only surveyed, references and citations in it are blank.

    Raises:
        InvalidInput: an unknown directive, role, citation or target, a label given twice or a malformed directive.
    """
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_prose(page, text[end : fence.start()]), _block(page, fence)]
        end = fence.end()
    parts.append(_prose(page, text[end:]))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _block(page: Page, fence: re.Match) -> str:
    """Return a directive as Markdown, any other fenced block as it is."""
    info = fence["info"].strip()
    named = re.fullmatch(r"\{([\w:.-]+)\}[ \t]*(.*)", info)
    if not named:
        return fence[0]
    body = re.sub(rf"^{fence['indent']}", "", fence["body"], flags=re.MULTILINE)
    header = _OPTIONS.match(body)
    block = Block(page, *named.groups(), _options(page, info, header), body[header.end() :])
    return textwrap.indent(directive(block), fence["indent"])


def _options(page: Page, info: str, header: re.Match) -> dict[str, str]:
    """Return the options of a directive, written as YAML between dashes or one a line as ``:name: value``."""
    try:
        options = yaml.safe_load(header["yaml"] or "") or dict(re.findall(r":([\w-]+):[ \t]*(.*)", header[0]))
        return {key: str(value) for key, value in options.items()}
    except (yaml.YAMLError, AttributeError) as error:
        raise page.error(info, f"the options of {info} are not YAML, a line 'name: value' each: {error}") from error


def _prose(page: Page, text: str) -> str:
    return _TOKEN.sub(lambda token: _token(page, token), text)


def _token(page: Page, token: re.Match) -> str:
    """Return one piece of prose as plain Markdown; code, comments in HTML and escaped characters stay as they are."""
    match token.lastgroup:
        case "comment":
            return ""
        case "target":
            return anchor(page, token["id"], token["of"] or "").removesuffix("\n")
        case "heading":
            return _heading(page, token)
        case "display":
            return textwrap.indent(formula(page, token["tex"], token["tag"] or ""), token["pad"])
        case "amsmath":
            return formula(page, token[0])
        case "maths":
            return token[0].replace("\n", " ")
        case "role":
            return _role(page, token["name"], " ".join(token["content"].split()))
        case "footnote":
            return _footnote(token)
        case "link":
            return _link(page, token)
        case "stray" if not page.surveying:
            problem = f"{token[0]} is not closed in its cell, does not start its line, or is no directive."
            raise page.error(token[0], problem)
    return token[0]


def _heading(page: Page, token: re.Match) -> str:
    slug = re.sub(r"[^\w\- ]", "", token["title"].lower()).replace(" ", "-")
    page.headings.setdefault(slug, token["title"])
    return f"{token['level']} {_prose(page, token['title'])}"


def _footnote(token: re.Match) -> str:
    mark = f"<sup>{token['mark']}</sup>"
    return f'<a id="note-{token["mark"]}"></a>{mark}' if token["colon"] else f"[{mark}](#note-{token['mark']})"


def _link(page: Page, token: re.Match) -> str:
    if token["bang"]:
        return f"![{token['text']}]({link(page, '', token['to'])[1]}{token['hover'] or ''})"
    text, to = link(page, _prose(page, token["text"]), token["to"])
    return f"[{text}]({to}{token['hover'] or ''})"


def _role(page: Page, name: str, content: str) -> str:
    """Return one role as plain Markdown."""
    match name:
        case "cite" | "cite:p" | "cite:t":
            return cite(page, content, textual=name == "cite:t")
        case "ref" | "numref" | "eq" | "prf:ref":
            return _reference(page, *_words_and_target(content))
        case "doc" | "download":
            text, to = link(page, *_words_and_target(content))
            return f"[{text}]({to})"
        case "sub" | "sup" | "kbd":
            return f"<{name}>{content}</{name}>"
        case "abbr":
            short, long = re.fullmatch(r"(.*?)\s*(?:\((.*)\))?", content).groups()
            return f'<abbr title="{long}">{short}</abbr>' if long else short
        case "math":
            return f"${content}$"
        case "sub-ref" if found := re.search(rf"^\s+{content}:[ ]*(.+)$", page.source, re.MULTILINE):
            return found[1].strip("\"'")
    if page.surveying:
        return ""
    raise page.error(f"{{{name}}}`", f"the role {{{name}}} with {content!r} is not one that the notebooks know.")


def _words_and_target(content: str) -> tuple[str, str]:
    """Split ``words <target>``, or a target alone."""
    words, _, target = content.removesuffix(">").rpartition("<") if content.endswith(">") else ("", "", content)
    return words.strip(), target


def _reference(page: Page, words: str, label: str) -> str:
    """Return a reference; ``%s`` in the words of its author is the number."""
    said, to = reference(page, label, words)
    number = re.search(r"\d+|$", said)[0]
    return f"[{words.replace('%s', number) or said}]({to})"
