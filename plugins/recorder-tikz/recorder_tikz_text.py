"""Text as LaTeX typesets it, whatever it is, and about how wide.

What is written is ASCII, so that it means the same in every encoding and to every engine.
"""

import re
import unicodedata

__all__ = ["DEFINITIONS", "latex", "width"]

DEFINITIONS = r"""\providecommand{\graphchar}[1]{\ifdefined\Umathcode\char"#1 \else{\small U+#1}\fi}"""
"""A character by its number: XeLaTeX and LuaLaTeX take it from the font, and pdfLaTeX, which may not know it, writes
the number."""

_PLAIN = re.compile(r"[A-Za-z0-9 .:/()+*=@;!?]")

_KNOWN = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}", '"': r"\char34{}", "`": r"\char96{}", "'": "{'}", "-": "{-}", ",": "{,}",
    "[": "{[}", "]": "{]}",
    "×": r"\ensuremath{\times}", "·": r"\ensuremath{\cdot}", "…": r"\ldots{}", "–": r"\textendash{}",
    "—": r"\textemdash{}", "→": r"\ensuremath{\rightarrow}", "∞": r"\ensuremath{\infty}", "µ": r"\ensuremath{\mu}",
    "ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "Œ": r"{\OE}",
    "ł": r"{\l}", "Ł": r"{\L}", "ı": r"{\i}", "§": r"{\S}", "©": r"{\copyright}", "±": r"\ensuremath{\pm}",
    "\u2003": r"\quad{}", "\xa0": "~",
}  # fmt: skip
"""Signs that LaTeX reads as something, or joins into others, and some of other languages."""

_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip

_GREEK = {
    chr(code): f"\\ensuremath{{\\{name}}}"
    for code, name in {
        0x3B1: "alpha", 0x3B2: "beta", 0x3B3: "gamma", 0x3B4: "delta", 0x3B5: "varepsilon", 0x3B6: "zeta",
        0x3B7: "eta", 0x3B8: "theta", 0x3B9: "iota", 0x3BA: "kappa", 0x3BB: "lambda", 0x3BC: "mu", 0x3BD: "nu",
        0x3BE: "xi", 0x3C0: "pi", 0x3C1: "rho", 0x3C2: "varsigma", 0x3C3: "sigma", 0x3C4: "tau", 0x3C5: "upsilon",
        0x3C6: "varphi", 0x3C7: "chi", 0x3C8: "psi", 0x3C9: "omega", 0x393: "Gamma", 0x394: "Delta", 0x398: "Theta",
        0x39B: "Lambda", 0x39E: "Xi", 0x3A0: "Pi", 0x3A3: "Sigma", 0x3A6: "Phi", 0x3A8: "Psi", 0x3A9: "Omega",
    }.items()
}  # fmt: skip


def latex(text: str) -> str:
    """LaTeX that typesets a text letter by letter, in any font and language. Spaces stay as many as they are."""
    marked = "".join(map(_character, text))
    return re.sub("(?<= ) |^ | $", r"\\ ", marked)


def _character(character: str) -> str:
    if _PLAIN.match(character):
        return f"{{{character}}}" if character in "!?" else character  # ?` and !` would be signs of Spanish
    if character in _KNOWN:
        return _KNOWN[character]
    if character in _GREEK:
        return _GREEK[character]
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in _ACCENTS and parts[0].isascii():
        letter = parts[0]
        dotless = f"\\{letter}" if letter in "ij" and parts[1] != "\u0327" else letter
        return f"\\{_ACCENTS[parts[1]]}{{{dotless}}}"
    return f"\\graphchar{{{ord(character):04X}}}"


def width(text: str, size: float) -> float:
    """About how wide a line is in big points, rather too much than too little: the document chooses the font."""
    return size * sum(map(_em, text))


def _em(character: str) -> float:
    if character in "iljtfI.,:;!'|()[] ":
        return 0.36
    if character == "…":
        return 1.5
    if character in "mwMW×—→%@":
        return 0.9
    if character.isupper():
        return 0.74
    if ord(character) > 0x17F and character != "–":
        return 3.8 if character not in _GREEK else 0.65
    return 0.56
