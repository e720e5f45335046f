"""Makes passwords, and the htpasswd lines by which the registry knows them."""

import ctypes
import secrets

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SALT_CHARACTERS = 22
_COST = 4  # the registry computes it for each request, and these passwords live for a minute


def new_password() -> str:
    """A password nobody can guess while the play lasts."""
    return secrets.token_urlsafe(12)


def htpasswd(users: dict[str, str]) -> str:
    """``users`` (name → password) as an htpasswd file; bcrypt, the one kind that docker-registry reads."""
    libcrypt = ctypes.CDLL("libcrypt.so.1")
    libcrypt.crypt.restype = ctypes.c_char_p
    libcrypt.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    lines = []
    for user, password in users.items():
        salt = "".join(secrets.choice(_ALPHABET) for _ in range(_SALT_CHARACTERS - 1)) + "."
        hashed = libcrypt.crypt(password.encode(), f"$2b${_COST:02}${salt}".encode())
        if not hashed or not hashed.startswith(b"$2b$"):
            raise OSError("libcrypt made no bcrypt hash")
        lines.append(f"{user}:{hashed.decode()}\n")
    return "".join(lines)
