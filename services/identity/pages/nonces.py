"""A form works only in the browser that was given it: its nonce is a MAC of the path under the browser's own cookie,
which no other site can read or set (`__Host-`).
"""

import base64
import hashlib
import hmac


def nonce_for(device: str, path: str) -> str:
    mac = hmac.new(device.encode(), b"form\x00" + path.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def is_right(nonce: str, device: str, path: str) -> bool:
    return bool(device) and hmac.compare_digest(nonce.encode(), nonce_for(device, path).encode())
