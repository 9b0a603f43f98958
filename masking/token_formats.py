"""Find secrets by their format: service tokens, keys, hashes and URLs with credentials.

The formats come from the services' documentation and from common secret scanners.
"""

import re
import string
from collections.abc import Callable, Iterator

from masking.private_keys import find_private_keys
from masking.values import ANSI, Span, has_digit_and_letter, is_placeholder

_W = r"[A-Za-z0-9_-]"
_A = r"[A-Za-z0-9]"
_H = r"[0-9a-f]"
_NOT_WORDS = rf"(?![a-z0-9]{{0,15}}(?:-[a-z0-9]{{0,15}}){{0,9}}+(?!{_W}))"
# (kind of token, literal prefixes, pattern for the rest of the token)
_TOKEN_FORMATS = (
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
    ("openai", ("sk-",), rf"{_NOT_WORDS}(?:proj-|svcacct-|admin-|or-v1-|ant-|lf-)?{_W}{{18,300}}+"),
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
    ("1password", ("ops_eyJ",), r"[A-Za-z0-9+/=]{100,1500}+"),
    ("1password", ("A3-",), r"[A-Z0-9]{6}-[A-Z0-9]{5,11}(?:-[A-Z0-9]{5}){3,5}"),
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
# Prefixes to leave visible: they are not secret, and they show what the token is for.
_PUBLIC = ("hooks.slack.com/", ".webhook.office", "discord", "api.telegram", "Acc", "Shared", "acc")
# Kinds of tokens that need no further check. Others must mix digits and letters, or mix cases.
_CERTAIN = {"aws", "age", "teams", "slack", "discord", "telegram", "azure", "octopus", "1password"}


def _alternation(literals: list[str]) -> str:
    """Return a pattern that matches any of the literals, grouped by first character for speed."""
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


_FORMAT_BY_PREFIX = {
    prefix: (kind, re.compile(rest))
    for kind, prefixes, rest in _TOKEN_FORMATS
    for prefix in prefixes
}
_PREFIX = re.compile(_alternation(list(_FORMAT_BY_PREFIX)))
_ESCAPES = "nrtbf"


def _is_token_start(text: str, start: int) -> bool:
    """Return whether a token may start here: at the start of a word or right after an escape."""
    if start == 0:
        return True
    before = text[start - 1]
    if not before.isalnum():
        return True
    return before in _ESCAPES and start > 1 and text[start - 2] == "\\"


# Every token is in a run of at least 18 of these characters. For a fast search for such runs, each
# of these characters is replaced by "a", and each other one by a space.
_SHORTEST = b"a" * 18
_RUN_CHARACTERS = f"{string.ascii_letters}{string.digits}_.~:/+=-".encode()
_AS_RUNS = bytes(ord("a" if byte in _RUN_CHARACTERS else " ") for byte in range(256))


def find_tokens(text: str) -> Iterator[Span]:
    """Yield tokens in the formats of known services."""
    runs = text.encode("ascii", "replace").translate(_AS_RUNS)
    start = runs.find(_SHORTEST)
    while start >= 0:
        end = runs.find(b" ", start)
        if end < 0:
            end = len(runs)
        yield from _tokens_in(text, start, end)
        start = runs.find(_SHORTEST, end)


def _tokens_in(text: str, position: int, end: int) -> Iterator[Span]:
    """Yield the tokens between two positions in the text, without overlaps."""
    while prefix := _PREFIX.search(text, position, end):
        start, rest = prefix.span()
        kind, pattern = _FORMAT_BY_PREFIX[prefix[0]]
        is_public = prefix[0].startswith(_PUBLIC)
        token = pattern.match(text, rest) if is_public or _is_token_start(text, start) else None
        position = token.end() if token else start + 1
        if token and (
            kind in _CERTAIN or has_digit_and_letter(token[0]) or _has_both_cases(token[0])
        ):
            yield Span(token.start() if is_public else start, token.end())


def _has_both_cases(token: str) -> bool:
    return token != token.lower() and token != token.upper() and "-" not in token


# (kind, literal marker, pattern, characters expected before the marker, how many are expected)
# Checking for the marker first is many times faster than always running the pattern.
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_NEW = r"(?:(?<![A-Za-z0-9_-]eyJ)|(?<=\\[nrtbf]eyJ))"
_MARKED_FORMATS = tuple(
    (kind, marker, re.compile(pattern, re.ASCII), before, counts)
    for kind, marker, pattern, before, counts in (
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


def find_tokens_by_marker(text: str) -> Iterator[Span]:
    """Yield secrets recognized by a literal marker, which may be in the middle of the secret."""
    for kind, marker, pattern, before, counts in _MARKED_FORMATS:
        if marker in text:
            for match in pattern.finditer(text):
                start = match.start() - _run_length_before(text, match.start(), before)
                if match.start() - start in counts and (kind != "discord" or text[start] in "MNO"):
                    yield Span(start, match.end())


def _run_length_before(text: str, end: int, characters: str) -> int:
    """Count the consecutive `characters` right before a position, ignoring an escape's letter."""
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
_URL_CREDENTIALS = re.compile(
    r"://(?:(?!\d{1,5}[/?#])(?P<user>[^\s\"'<>\\/@:`]{0,128}+):"
    rf"(?P<password>(?:[^\s\"'<>\\/`]|{ANSI}){{1,512}})"
    r"|(?P<token>[A-Za-z0-9_.~-]{20,512}+))@(?=[\w\[.$({%-])"
)


def find_url_credentials(text: str) -> Iterator[Span]:
    """Yield passwords and tokens in URLs."""
    for match in _URL_CREDENTIALS.finditer(text):
        part = "token" if match["token"] else "password"
        value = match[part]
        if part == "token" and not has_digit_and_letter(value):
            continue
        if part == "password" and (len(value) == 1 or _SAMPLE.fullmatch(value)):
            continue
        if not is_placeholder(value) and not value.startswith(("$", "{", "%")):
            yield Span(*match.span(part))


# (literal that the lowercased text must contain, function that finds the secrets)
TOKEN_FINDERS: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("", find_tokens),
    ("", find_tokens_by_marker),
    ("://", find_url_credentials),
    ("private key", find_private_keys),
)
