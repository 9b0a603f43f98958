"""Patterns that match a secret's name and the syntax between the name and the value."""

import re

from masking.literals import literals

STEMS = literals(
    "pass", "pwd", "secret", "token", "key", "auth", "cookie", "credential", "jwt", "bearer",
    "psk", "sig", "pw", "sessid", "sessionid", "connectionstring",
    "connection_string", "kennwort",
)  # fmt: skip
NAME_STEMS = literals(*STEMS, "psw", "connection")  # every secret name contains one of them
# Every quantifier is bounded or possessive, so matching takes linear time.
_BLANK = r"(?:[ \t\u00a0]|\\{1,15}(?:t|u00a0))"
NAMED = re.compile(
    "(?:"
    + "|".join(STEMS)
    + rf""")(?P<name>[\w-]{{0,64}}+)
    (?P<closed>\\{{0,15}}["'`])?+ (?:\[?\d{{0,4}}\])?+ \*{{0,2}}+ (?:</\w{{1,10}}+>|[ ]string)?
    (?: (?P<before>{_BLANK}{{0,32}}+)
        (?P<sep>:=|=>|<-|={{1,3}}|:(?!:)|::(?=[ ])|(?<=["'`]),|\|\||\?\?|\.{{4,60}}+(?=[ ])
            |\uff1a|→|\\{{1,15}}(?:uff1a|u2192))
        (?: (?<=:)[ ]?(?:&(?:'static[ ])?)?[a-z_][\w.]{{0,30}}+
            (?:\[[\w., |]{{0,40}}+\])?+(?:[ ]\|[ ]none)?+
            [ ]?=(?=[ ]?(?:[a-z_]\w{{0,30}}+\((?:default=)?)?\\{{0,15}}["']) )?+
        (?: (?<=,)[ ]default= | <\w{{1,10}}+[^<>]{{0,60}}+> )?+
        (?P<call>[ ]?(?:[a-z_][\w.:]{{0,40}}+)?\((?:\s|\\{{1,15}}[nrt]){{0,20}}+
            (?:default=)?+(?=[bf]?\\{{0,15}}["']))?+
        \*{{0,2}}+ {_BLANK}{{0,32}}+
        (?P<broken>(?:(?:\r?\n|\\{{1,15}}[rn])(?:{_BLANK}){{0,40}}+){{1,4}}+)?+
      | (?P<wrap>\()(?=[bf]?\\{{0,15}}["'])
      | (?P<part>(?:\r?\n|(?:\\{{1,15}}r)?\\{{1,15}}n){{2}})
      | (?P<xml>(?:</[\w-]{{1,20}}+>(?:\s|\\{{1,15}}[nrt]){{0,20}}+<\w{{1,20}}+[^<>]{{0,80}}+)?+>)
        (?=[^<>\s]{{1,256}}+</)
      | (?P<is>[ \t]{{1,8}}
          (?:(?:has[ ]been[ ]|is[ ]|was[ ])?(?:set[ ]|changed[ ]|reset[ ])?to|is|was|are)
          [ \t]{{0,2}}:?[ \t]{{1,8}}) )
    """,
    re.ASCII | re.VERBOSE,
)
FLAG = re.compile(
    r"-(?:-|(?<=[\s\"']-)(?=\w{5}))(?P<name>[\w-]{2,64}+)"
    r"(?:[ ]{1,16}+|\\{0,15}[\"'],[ ]?\\{0,15}(?=[\"']))(?=[^\s|&<>;:=(-])",
    re.ASCII,
)
SETTING_COMMANDS = literals("env ", "setenv ", "setx ", "#define ", "set -")
SETTING = re.compile(
    r"(?:ENV|setenv|setx(?:[ ]/[mM])?|\#define|set[ ]-\w{1,3})[ ]{1,4}"
    r"(?P<name>[A-Z][A-Z0-9_]{2,64}+)[ ]{1,40}(?=[^\s=])",
    re.ASCII,
)
