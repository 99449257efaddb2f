"""Gives the services of panels.sh their work: batches, watchers and downloads, and the images, the webhook and the vision model.

load.py origin ADDRESS                    serves images, a webhook and a vision model
load.py load SECONDS ORIGIN GATEWAY...    sends a batch each second, and prints what became of the images
"""
import asyncio, base64, collections, http.server, io, json, random, sys, threading, time

import requests, websockets
from PIL import Image

def photo(n, size=(1200, 800), kind="JPEG"):
    noise = Image.effect_noise((size[0] // 8, size[1] // 8), 60).resize(size)
    picture = Image.merge("RGB", [noise, noise.point(lambda v: (v * (n % 7 + 1)) % 256), noise.rotate(180)])
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()

class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model, asked = True, 0
    photos = [photo(n, kind=kind) for n, kind in enumerate(["JPEG"] * 6 + ["PNG", "WEBP"])]
    log_message = lambda *_: None

    def reply(self, status, body=b"", kind="text/plain", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/model/"):
            Origin.model = self.path.endswith("/on")
            self.reply(200)
        elif self.path.startswith("/limited") and time.time() - Origin.asked < 2:
            self.reply(429, Retry_After=3)
        elif self.path.startswith("/missing"):
            self.reply(404)
        else:
            if self.path.startswith("/limited"):
                Origin.asked = time.time()
            self.reply(200, self.photos[hash(self.path) % len(self.photos)], "image/jpeg")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hook":
            return self.reply(200 if random.random() < 0.9 else 500)
        if not self.model:
            return self.reply(503)
        time.sleep(0.05)
        text = json.dumps({"title": "Noise", "description": "Gray noise.", "keywords": ["noise"], "alt_text": "Gray noise."})
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                  "usage": {"prompt_tokens": 300, "completion_tokens": 60}}
        self.reply(200, json.dumps(answer).encode(), "application/json")

def origin(address):
    host, port = address.split(":")
    for name in "127.0.0.2", host:  # The second address is another host, which limits the requests to it.
        server = http.server.ThreadingHTTPServer((name, int(port)), Origin)
        threading.Thread(target=server.serve_forever).start()

def batch(n, source):
    """Six images: three good URLs, one inline, and two that depend on the number."""
    inline = photo(n, (600, 400 + n % 200))
    images = [{"url": f"http://{source}/{n}-{i}.jpg"} for i in range(3)]
    images.append({"base64": base64.b64encode(inline).decode()})
    images.append([{"url": f"http://{source}/missing/{n}"}, {"base64": base64.b64encode(inline[:9000]).decode()},
                   {"url": f"http://{source.replace('.0.1', '.0.2')}/limited/{n}"}, {"url": f"http://{source}/{n}-5.jpg"}][n % 4])
    return {"images": images}

def one(n, source, gateways, seen):
    """Sends a batch, follows it, and reads its results."""
    body = batch(n, source)
    for attempt in range(40):
        api = f"http://{gateways[(n + attempt) % 2]}/api/v1/batch"
        try:
            response = requests.post(api, json=body, headers={"Idempotency-Key": f"batch-{n}"}, timeout=10)
            seen[f"POST {response.status_code}"] += 1
            if response.status_code == 201:
                break
        except requests.RequestException:
            seen["POST without a response"] += 1
        time.sleep(2)
    job = f"{api}/{response.json()['job_id']}"
    if n % 10 == 9:
        seen["cancelled"] += requests.post(f"{job}/cancel", timeout=30).ok
    while True:
        try:
            if n % 2:
                asyncio.run(follow(job.replace("http", "ws", 1) + "/ws"))
            else:
                for _ in requests.get(f"{job}/events", stream=True, timeout=60).iter_lines():
                    pass
            response = requests.get(job, timeout=10)
            response.raise_for_status()
            state = response.json()
            if state["status"] not in ("pending", "processing"):
                break
        except (requests.RequestException, OSError, websockets.WebSocketException, asyncio.TimeoutError):
            job = f"http://{gateways[1]}/{job.split('/', 3)[3]}"
        time.sleep(1)
    seen["job " + state["status"]] += 1
    for image in state["images"]:
        seen["image " + image["status"] + " " + image.get("error_code", "")] += 1
    if n % 5 == 0:
        requests.get(f"{job}/results.zip", timeout=60)

async def follow(url):
    async with websockets.connect(url) as socket:
        async for _ in socket:
            pass

def load(seconds, source, *gateways):
    seen, threads, began = collections.Counter(), [], time.time()
    for n in range(int(seconds)):
        threads.append(threading.Thread(target=one, args=(n, source, gateways, seen)))
        threads[-1].start()
        time.sleep(max(0, began + n + 1 - time.time()))
    deadline = time.time() + 30
    for thread in threads:
        thread.join(max(0, deadline - time.time()))
    print(f"{int(seconds)} batches of 5 images in {int(seconds)} s; unfinished: {sum(t.is_alive() for t in threads)}")
    print("\n".join(f"{count:6} {what}" for what, count in sorted(seen.items())), flush=True)

if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    if sys.argv[1] == "load":
        import os
        os._exit(0)  # Threads may still wait.
