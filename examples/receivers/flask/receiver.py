import base64
import hashlib
import hmac
import os
import re
import time

from flask import Flask, request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 2 * 1024 * 1024
secret = os.environ["SECRET"]


def key_of(secret: str) -> bytes:
    """The bytes behind whsec_ when they are base64 of 24 to 64 bytes, else the whole secret."""
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret[6:], validate=True)
            if 24 <= len(key) <= 64 and base64.b64encode(key).decode() == secret[6:]:
                return key
        except ValueError:
            pass
    return secret.encode()


def verified(secret: str, headers, body: bytes, tolerance: int = 300) -> bool:
    delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not secret or not delivery or not re.fullmatch("[0-9]{1,12}", timestamp):
        return False
    if abs(time.time() - int(timestamp)) > tolerance:
        return False
    signed = f"{delivery}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256))
    # There are two while a secret is being rotated.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(expected, one) for one in given)


@app.post("/")
def receive():
    body = request.get_data()  # the bytes as they came, before request.json parses them
    if not verified(secret, request.headers, body):
        return "", 401
    change = request.get_json()
    # The same event may come twice: keep the id with what you do, and do nothing the second time.
    print(request.headers["webhook-id"], change["event"], change["table"], change["row"] or change["old_row"], flush=True)
    return "", 204


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", 3000)))
