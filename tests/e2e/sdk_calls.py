# mypy: ignore-errors
"""What a program does with the published SDK; run by the Python of the environment that the SDK is installed in.

Not checked with our own code: its `mushu` is another one. Takes the address, the key, the organization, the tenant and
a picture as JSON on standard input, and prints what it was answered.
"""

import json
import sys

import httpx

import mushu
from mushu.core.api.api_keys import validate_api_key
from mushu.media.api.media import (
    confirm_upload,
    delete_media,
    get_image_urls,
    get_upload_url,
    list_app_media,
    list_org_media,
)
from mushu.media.models import UploadUrlRequest
from mushu.notify.api.devices import list_devices, register_device, unregister_device
from mushu.notify.api.notify import send_bulk_push, send_push
from mushu.notify.client import Client as NotifyClient
from mushu.notify.models import AlertPayload, BulkPushRequest, Platform, RegisterDeviceRequest, SendPushRequest

given = json.load(sys.stdin)
url, key, org_id, tenant_id, picture = (given[name] for name in ("url", "key", "org_id", "tenant_id", "picture"))
told = {}

core = mushu.client("core", base_url=url)
for name, text in (("good", key), ("bad", "msk_live_none")):
    told[name] = validate_api_key.sync(client=core, body=mushu.ValidateApiKeyRequest(key=text)).to_dict()

notify, named = NotifyClient(base_url=url), {"app_id": tenant_id, "x_api_key": key}
token = "c3" * 32
phone = RegisterDeviceRequest(user_id="heidi", token=token, platform=Platform.IOS, app_version="2.1")
told["device"] = register_device.sync(client=notify, body=phone, **named).to_dict()
told["devices"] = list_devices.sync(client=notify, user_id="heidi", **named).to_dict()
alert = AlertPayload(title="Hello", body="Your order is ready")
told["push"] = send_push.sync(client=notify, body=SendPushRequest(user_id="heidi", alert=alert), **named).to_dict()
many = BulkPushRequest(user_ids=["heidi", "ivan"], alert=alert)
told["bulk"] = send_bulk_push.sync(client=notify, body=many, **named).to_dict()
unregister_device.sync(client=notify, token=token, user_id="heidi", **named)
told["left"] = list_devices.sync(client=notify, user_id="heidi", **named).to_dict()

media = mushu.client("media", base_url=url, api_key=key)
content = bytes.fromhex(picture)
wanted = UploadUrlRequest(org_id=org_id, filename="photo.png", content_type="image/png", size_bytes=len(content))
upload = get_upload_url.sync(client=media, body=wanted)
put = httpx.put(upload.upload_url, content=content, headers={"Content-Type": "image/png"})
told["put"] = put.status_code
told["confirmed"] = confirm_upload.sync(upload.media_id, client=media).to_dict()
told["listed"] = list_org_media.sync(org_id, client=media).to_dict()
told["of_app"] = list_app_media.sync(tenant_id, client=media, org_id=org_id).to_dict()
images = get_image_urls.sync(upload.media_id, client=media)
told["thumbnail"] = httpx.get(images.thumbnail).headers["content-type"]
delete_media.sync(upload.media_id, client=media)
told["after"] = list_org_media.sync(org_id, client=media).to_dict()
print(json.dumps(told))
