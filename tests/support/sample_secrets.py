"""Fake secrets, each with a sentence that makes it recognizable as a secret."""

LETTERS = "a1B2c3D4e5F6g7H8i9J0kLmNoPqRsTuVwXyZ"  # 36 characters, not a real token


def text_with(secret: str) -> str:
    return SECRETS[secret].format(secret)


TOKEN = "ghp_" + LETTERS
PASSWORD = "Tr0ub4dor-and-3"
URL_PASSWORD = "c0rrectH0rse9"
HEADER = "zx81Spectrum48kQL"
KEY = "MIIEpQIBAAKCAQEA" + LETTERS * 6

SECRETS = {
    TOKEN: "cloned with {} again",
    PASSWORD: "then password={} was tried",
    URL_PASSWORD: "see https://maya:{}@db.example.org/tasks",
    HEADER: "curl -H 'Authorization: Bearer {}' https://example.org",
    KEY: "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
}
