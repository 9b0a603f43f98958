"""Secrets that show by their own shape: keys, tokens of the known services, hashes, addresses.

The shapes are those that the services publish, and that the common scanners look for.
"""

import re
from collections.abc import Callable, Iterator

from masking.private_keys import private_keys
from masking.values import COLOUR, Span, has_digit_and_letter, is_gap

_W = r"[A-Za-z0-9_-]"
_A = r"[A-Za-z0-9]"
_H = r"[0-9a-f]"
_NO_WORDS = rf"(?![a-z0-9]{{0,15}}(?:-[a-z0-9]{{0,15}}){{0,9}}+(?!{_W}))"
# kind, how it begins (one of these, literally), what must follow.
_SHAPES = (
    ("github", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), rf"{_A}{{30,255}}+"),
    ("github", ("github_pat_",), r"\w{22,255}+"),
    ("gitlab", ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-",
                "glsoat-", "glffct-", "GR1348941"), rf"{_W}{{18,300}}+(?:\.{_W}{{2,64}}+)*+"),
    ("slack", ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxe-", "xoxc-", "xoxd-",
               "xoxe.xox"), r"[A-Za-z0-9%_.-]{10,400}+"),
    ("slack", ("xapp-",), rf"\d-{_W}{{20,300}}+"),
    ("slack", ("hooks.slack.com/services/", "hooks.slack.com/workflows/",
               "hooks.slack.com/triggers/"), r"[A-Za-z0-9+/_-]{20,100}+"),
    ("aws", ("AKIA", "ASIA", "ABIA", "ACCA"), rf"[A-Z0-9]{{16}}(?!{_A})"),
    ("aws", ("ABSK",), r"[A-Za-z0-9+/]{100,280}+=*+"),
    ("google", ("AIza",), rf"{_W}{{35}}(?!{_W})"),
    ("google", ("ya29.",), r"[\w.-]{20,2000}+"),
    ("google", ("GOCSPX-",), rf"{_W}{{20,40}}+"),
    ("google", ("1//0",), rf"{_W}{{30,200}}+"),
    ("stripe", ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "rk_prod_"),
     rf"{_A}{{10,255}}+"),
    ("stripe", ("whsec_",), r"[A-Za-z0-9+/=]{20,128}+"),
    ("openai", ("sk-",), rf"{_NO_WORDS}(?:proj-|svcacct-|admin-|or-v1-|ant-|lf-)?{_W}{{18,300}}+"),
    ("xai", ("xai-",), rf"{_W}{{40,120}}+"),
    ("groq", ("gsk_",), rf"{_A}{{30,80}}+"),
    ("perplexity", ("pplx-",), rf"{_A}{{30,80}}+"),
    ("replicate", ("r8_",), rf"{_A}{{30,60}}+"),
    ("langsmith", ("lsv2_pt_", "lsv2_sk_"), rf"{_H}{{32}}_{_H}{{10}}"),
    ("tavily", ("tvly-",), rf"{_W}{{20,80}}+"),
    ("firecrawl", ("fc-",), rf"{_H}{{32}}(?!{_W})"),
    ("pinecone", ("pcsk_",), r"\w{40,100}+"),
    ("npm", ("npm_",), rf"{_A}{{36}}(?!{_A})"),
    ("pypi", ("pypi-",), rf"{_W}{{50,1000}}+"),
    ("rubygems", ("rubygems_",), rf"{_H}{{48}}"),
    ("nuget", ("oy2",), r"[a-z0-9]{43}(?![A-Za-z0-9])"),
    ("clojars", ("CLOJARS_",), r"[a-z0-9]{60}"),
    ("docker", ("dckr_pat_", "dckr_oat_"), rf"{_W}{{20,100}}+"),
    ("huggingface", ("hf_", "api_org_"), rf"{_A}{{30,60}}+"),
    ("sendgrid", ("SG.",), rf"{_W}{{16,32}}\.{_W}{{32,64}}+"),
    ("sendinblue", ("xkeysib-", "xsmtpsib-"), rf"{_H}{{64}}-{_A}{{16}}"),
    ("mailgun", ("key-",), rf"{_H}{{32}}(?!{_W})"),
    ("twilio", ("SK", "AC"), rf"{_H}{{32}}(?!{_A})"),
    ("digitalocean", ("dop_v1_", "doo_v1_", "dor_v1_"), rf"{_H}{{64}}"),
    ("shopify", ("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9A-Fa-f]{32}"),
    ("linear", ("lin_api_", "lin_oauth_"), rf"{_A}{{32,80}}+"),
    ("notion", ("ntn_", "secret_"), rf"{_A}{{40,60}}+(?!_)"),
    ("databricks", ("dapi",), rf"{_H}{{32}}(?:-\d)?(?!{_A})"),
    ("vault", ("hvs.", "hvb.", "hvr."), rf"{_W}{{20,400}}+"),
    ("private-key", ("LS0tLS1CRUdJTi",), r"(?!BDRVJU|BQVUJM)[A-Za-z0-9+/]{86,}+=*+"),
    ("age", ("AGE-SECRET-KEY-1",), r"[0-9A-Z]{58}"),
    ("square", ("sq0atp-", "sq0csp-", "sq0idp-"), rf"{_W}{{22,60}}+"),
    ("square", ("EAAA",), rf"{_W}{{60}}(?!{_W})"),
    ("facebook", ("EAAM", "EAAC", "EAAG"), rf"{_A}{{80,400}}+"),
    ("alibaba", ("LTAI",), rf"{_A}{{17,21}}(?!{_A})"),
    ("artifactory", ("AKCp",), rf"{_A}{{69}}(?!{_A})"),
    ("atlassian", ("ATATT3", "ATCTT3", "ATBB"), r"[A-Za-z0-9_=-]{28,300}+"),
    ("cloudflare", ("v1.0-",), rf"{_H}{{24}}-{_H}{{146}}"),
    ("doppler", ("dp.pt.", "dp.st.", "dp.ct.", "dp.sa."), r"[A-Za-z0-9._-]{40,80}+"),
    ("dropbox", ("sl.",), r"[A-Za-z0-9_=-]{120,1500}+"),
    ("dynatrace", ("dt0c01.",), r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    ("duffel", ("duffel_live_", "duffel_test_"), r"[A-Za-z0-9_=-]{43}"),
    ("easypost", ("EZAK", "EZTK"), rf"{_A}{{54}}"),
    ("figma", ("figd_",), rf"{_W}{{40,60}}+"),
    ("fly", ("fo1_", "fm1r_", "fm1a_", "fm2_"), r"[A-Za-z0-9+/=_,-]{43,1500}+"),
    ("frameio", ("fio-u-",), r"[A-Za-z0-9_=-]{64}"),
    ("flutterwave", ("FLWSECK_TEST-", "FLWSECK-"), rf"{_A}{{12,40}}+(?:-X)?"),
    ("grafana", ("glc_",), r"[A-Za-z0-9+/=]{32,400}+"),
    ("grafana", ("glsa_",), rf"{_A}{{32}}_[0-9A-Fa-f]{{8}}"),
    ("heroku", ("HRKU-AA",), rf"{_W}{{50,64}}+"),
    ("infracost", ("ico-",), rf"{_A}{{32}}(?!{_A})"),
    ("matrix", ("syt_",), rf"[A-Za-z0-9+/=]{{1,200}}+_{_A}{{20}}_{_A}{{6}}"),
    ("newrelic", ("NRAK-", "NRJS-", "NRII-", "NRIQ-"), rf"{_W}{{19,36}}+"),
    ("netlify", ("nfp_",), rf"{_A}{{36,64}}+"),
    ("octopus", ("API-",), r"[A-Z0-9]{26}(?![A-Za-z0-9])"),
    ("onepassword", ("ops_eyJ",), r"[A-Za-z0-9+/=]{100,1500}+"),
    ("onepassword", ("A3-",), r"[A-Z0-9]{6}-[A-Z0-9]{5,11}(?:-[A-Z0-9]{5}){3,5}"),
    ("openshift", ("sha256~",), rf"{_W}{{43}}"),
    ("planetscale", ("pscale_tkn_", "pscale_oauth_", "pscale_pw_"), r"[A-Za-z0-9_=.-]{32,64}+"),
    ("postman", ("PMAK-",), rf"{_H}{{24}}-{_H}{{34}}"),
    ("prefect", ("pnu_",), rf"{_A}{{36}}(?!{_A})"),
    ("pulumi", ("pul-",), rf"{_H}{{40}}"),
    ("readme", ("rdme_",), r"[a-z0-9]{70}"),
    ("resend", ("re_",), rf"{_A}{{8}}_{_A}{{20,30}}+(?!_)"),
    ("sentry", ("sntrys_",), r"[A-Za-z0-9+/=_]{60,800}+"),
    ("sentry", ("sntryu_",), rf"{_H}{{64}}"),
    ("shippo", ("shippo_live_", "shippo_test_"), rf"{_H}{{40}}"),
    ("sonar", ("squ_", "sqp_", "sqa_"), rf"{_H}{{40}}"),
    ("sourcegraph", ("sgp_",), rf"(?:{_H}{{16}}_|local_)?{_H}{{40}}"),
    ("supabase", ("sbp_",), rf"{_H}{{40}}"),
    ("supabase", ("sb_secret_",), rf"{_W}{{20,80}}+"),
    ("tailscale", ("tskey-",), rf"{_W}{{20,100}}+"),
    ("teams", (".webhook.office.com/webhookb2/",), r"[A-Za-z0-9@/-]{60,300}+"),
    ("contentful", ("CFPAT-",), rf"{_W}{{43}}"),
    ("yandex", ("AQVN", "YCAJ", "YCM"), rf"{_W}{{22,60}}+(?!{_W})"),
    ("mapbox", ("sk.eyJ",), r"[\w-]{20,400}+\.[\w-]{10,100}+"),
    ("discord", ("discord.com/api/webhooks/", "discordapp.com/api/webhooks/"),
     rf"\d{{17,20}}/{_W}{{50,90}}+"),
    ("telegram", ("api.telegram.org/bot", "api.telegram.org/file/bot"),
     rf"\d{{5,16}}:{_W}{{30,50}}+"),
    ("azure", ("AccountKey=", "SharedAccessKey=", "accountkey="), r"[A-Za-z0-9+/]{20,100}+={0,2}"),
)  # fmt: skip
# Of these the beginning says where they belong, and is no secret.
_SHOWN = ("hooks.slack.com/", ".webhook.office", "discord", "api.telegram", "Acc", "Shared", "acc")
# And of these any characters will do; of others, digits among letters, or letters of both cases.
_SURE = ("aws", "age", "teams", "slack", "discord", "telegram", "azure", "octopus", "onepassword")


def _alternation(literals: list[str]) -> str:
    """Literals by their first character: tried a few times faster than one after another."""
    firsts = sorted({literal[0] for literal in literals})
    return "|".join(
        re.escape(first)
        + "(?:"
        + "|".join(
            re.escape(literal[1:])
            for literal in sorted(literals, key=len, reverse=True)
            if literal[0] == first
        )
        + ")"
        for first in firsts
    )


_BY_BEGINNING = {
    beginning: (kind, re.compile(rest))
    for kind, beginnings, rest in _SHAPES
    for beginning in beginnings
}
_BEGINNING = re.compile(_alternation(list(_BY_BEGINNING)))
_ESCAPES = "nrtbf"


def _is_boundary(text: str, start: int) -> bool:
    """Whether a token may start here: after no letter or digit, but for that of an escape."""
    if start == 0:
        return True
    before = text[start - 1]
    if not before.isalnum():
        return True
    return before in _ESCAPES and start > 1 and text[start - 2] == "\\"


# No token is shorter; to look only in such runs takes half the time.
_RUN = re.compile(r"[\w.~:/+=-]{18,}+", re.ASCII)


def shapes(text: str) -> Iterator[Span]:
    """The tokens of known services."""
    for run in _RUN.finditer(text):
        yield from _shapes_in(text, *run.span())


def _shapes_in(text: str, position: int, end: int) -> Iterator[Span]:
    """Those of one run; what a token takes is not looked at again."""
    while beginning := _BEGINNING.search(text, position, end):
        start, rest = beginning.span()
        kind, pattern = _BY_BEGINNING[beginning[0]]
        shown = beginning[0].startswith(_SHOWN)
        token = pattern.match(text, rest) if shown or _is_boundary(text, start) else None
        position = token.end() if token else start + 1
        if token and (kind in _SURE or has_digit_and_letter(token[0]) or _two_cases(token[0])):
            yield Span(token.start() if shown else start, token.end())


def _two_cases(token: str) -> bool:
    return token != token.lower() and token != token.upper() and "-" not in token


# What such are known by, and how many of which characters stand before that: to look for what is
# literal is many times faster.
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_NEW = r"(?:(?<![A-Za-z0-9_-]eyJ)|(?<=\\[nrtbf]eyJ))"
_OTHERS = tuple(
    (kind, sign, re.compile(pattern, re.ASCII), before, counts)
    for kind, sign, pattern, before, counts in (
        ("jwt", "eyJ", rf"eyJ{_NEW}[\w-]{{8,}}+(?:\.eyJ[\w-]{{4,}}+(?:\.[\w-]*+)?"
         r"|\.[\w-]*+\.[\w-]{16,}+(?:\.[\w-]++){0,2}|(?=\Z)(?<=[\w-]{200}))", "", range(1)),
        ("telegram", ":AA", r":AA[\w-]{32,36}(?![\w-])", "0123456789", range(8, 13)),
        ("discord", ".", r"\.[\w-]{6}\.[\w-]{27,40}(?![\w-])", _LETTERS, range(24, 29)),
        ("azure", "Q~", r"Q~(?<=\dQ~)[\w~.-]{31,34}(?![\w~-])", _LETTERS + "~.", range(4, 5)),
        ("terraform", ".atlasv1.", r"\.atlasv1\.[\w=-]{60,70}+", _LETTERS, range(14, 15)),
        ("mailchimp", "-us", r"-us\d{1,2}(?!\w)", "0123456789abcdef", range(32, 33)),
        ("hash", "$", r"\$(?:[156y7]|2[abxy]?|apr1|argon2id?|scrypt|gy)\$[\w./$=,+-]{20,256}+",
         "", range(1)),
        ("hash", "pbkdf2_sha", r"pbkdf2_sha\d{1,3}\$\d++\$[^\s\"'\\]{20,200}+", "", range(1)),
        ("ldap", "SHA}", r"SHA\}[A-Za-z0-9+/=]{28,100}+", "{S", range(1, 3)),
    )
)  # fmt: skip


def others(text: str) -> Iterator[Span]:
    """Secrets that do not show by how they begin."""
    for kind, sign, pattern, before, counts in _OTHERS:
        if sign in text:
            for found in pattern.finditer(text):
                start = found.start() - _count(text, found.start(), before)
                if found.start() - start in counts and (kind != "discord" or text[start] in "MNO"):
                    yield Span(start, found.end())


def _count(text: str, end: int, characters: str) -> int:
    """How many of these characters stand right before a place, without the letter of an escape."""
    if not characters:
        return 0
    start = max(0, end - 40)
    run = text[start:end]
    rest = run.rstrip(characters)
    count = len(run) - len(rest)
    return count - 1 if rest[-1:] == "\\" and run[len(rest) : len(rest) + 1] in _ESCAPES else count


_SAMPLE = re.compile(
    r"(?i)key|pass(?:word|wd)?|pwd|secret|token|user(?:name)?|(?:access|secret)_key"
)
_ADDRESS = re.compile(
    r"://(?:(?!\d{1,5}[/?#])(?P<user>[^\s\"'<>\\/@:`]{0,128}+):"
    rf"(?P<password>(?:[^\s\"'<>\\/`]|{COLOUR}){{1,512}})"
    r"|(?P<token>[A-Za-z0-9_.~-]{20,512}+))@(?=[\w\[.$({%-])"
)


def addresses(text: str) -> Iterator[Span]:
    """The passwords and tokens in URLs."""
    for found in _ADDRESS.finditer(text):
        part = "token" if found["token"] else "password"
        value = found[part]
        if part == "token" and not has_digit_and_letter(value):
            continue
        if part == "password" and (len(value) == 1 or _SAMPLE.fullmatch(value)):
            continue
        if not is_gap(value) and not value.startswith(("$", "{", "%")):
            yield Span(*found.span(part))


# Each with what must be in the (lower-cased) text for it to be looked for.
FINDERS: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("", shapes),
    ("", others),
    ("://", addresses),
    ("private key", private_keys),
)
