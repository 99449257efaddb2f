"""Draws the panels of the dashboards like Grafana, from the data of a Prometheus.

panels.py config [JOB=ADDRESS,...]...     prints ../prometheus/prometheus.yml with these targets
panels.py draw URL FOLDER FROM TO         draws every panel, a sheet for each dashboard, and report.txt
"""
import collections, datetime, glob, json, math, os, re, sys

SCRAPE = 5  # seconds: the scrape interval of prometheus.yml, and Grafana's timeInterval
HERE = os.path.dirname(os.path.abspath(__file__))
COLUMN, ROW = 66, 38  # pixels of Grafana's grid
PALETTE = "#73BF69 #F2CC0C #8AB8FF #FF780A #F2495C #5794F2 #B877D9 #705DA0 #37872D #FADE2A #447EBC #C15C17 #890F02".split()
COLORS = {"green": "#56A64B", "orange": "#FF780A", "red": "#E02F44"}

def config(*targets):
    import yaml
    with open(HERE + "/../prometheus/prometheus.yml") as file:
        prometheus = yaml.safe_load(file)
    prometheus["rule_files"] = [os.path.abspath(HERE + "/../prometheus/rules.yml")]
    targets = dict(t.split("=") for t in targets)
    for job in prometheus["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": targets[job["job_name"]].split(",") if targets else []}]
    print(yaml.dump(prometheus))

def number(v, decimals, least=0):
    """Formats a number like Grafana: three significant digits, or the decimals of the panel."""
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(v)))) if v and abs(v) < 1000 else 0
        text = f"{v:.{max(least, decimals)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{v:.{decimals}f}"

def scaled(v, steps, decimals):
    for size, name in steps:
        if abs(v) >= size or (size, name) == steps[-1]:
            return number(v / size, decimals), name

def formatted(v, unit, decimals=None):
    """Formats a value in a unit of Grafana. An unknown unit is an error, so that a new one is added here."""
    counts = [(1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1, "")]
    sizes = [(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")]
    rates = {"ops": "ops/s", "reqps": "req/s", "mps": "msg/s", "eps": "events/s"}
    if unit == "short":
        return "".join(scaled(v, counts, decimals))
    if unit == "percentunit":
        return number(v * 100, decimals) + "%"
    if unit == "s":
        times = [(86400, " day"), (3600, " hour"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")]
        return "0 s" if v == 0 else "".join(scaled(v, times, decimals))
    if unit == "bytes":
        return "".join(scaled(v, sizes, decimals))
    if unit == "Bps":
        return "".join(scaled(v, [(10**9, " GB"), (10**6, " MB"), (10**3, " kB"), (1, " B")], decimals)) + "/s"
    if unit in rates or unit.startswith("count:"):
        return "".join(scaled(v, [(s, n.strip()) for s, n in counts], decimals)) + " " + (rates.get(unit) or unit[6:])
    raise ValueError(f"unknown unit {unit}")

class Draw:
    def __init__(self, url, folder, start, end):
        self.url, self.folder, self.start, self.end = url, folder, int(start), int(end)
        self.report = []

    def series(self, target, variables, width):
        """Returns the series of a query as Grafana requests and names them."""
        import requests
        step = max(SCRAPE, math.ceil((self.end - self.start) / width / SCRAPE) * SCRAPE)
        values = {"__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE)}s", "__interval": f"{step}s", "__range": f"{self.end - self.start}s", **variables}
        expr = re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda m: values[m[1] or m[2]], target["expr"])
        start, end = self.start // step * step, self.end // step * step
        response = requests.post(self.url + "/api/v1/query_range", data={"query": expr, "start": start, "end": end, "step": step}).json()
        if response["status"] != "success":
            raise ValueError(f"{expr}: {response}")
        times = list(range(start, end + 1, step))
        for one in response["data"]["result"]:
            points = {int(t): float(v) for t, v in one["values"]}
            name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: one["metric"].get(m[1], m[1]), target.get("legendFormat") or json.dumps(one["metric"]))
            yield name, times, [points.get(t, math.nan) for t in times]

    def panel(self, dashboard, panel, variables):
        """Draws a panel and returns the file."""
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        grid, default, options = panel["gridPos"], panel["fieldConfig"]["defaults"], panel["options"]
        width = grid["w"] * COLUMN - 8
        series = [s for t in panel["targets"] for s in self.series(t, variables, width)]
        figure, axes = plt.subplots(figsize=(width / 100, (grid["h"] * ROW - 8) / 100), dpi=100)
        axes.set_title(panel["title"], loc="left", fontsize=9, fontweight="bold")
        thresholds = default.get("thresholds", {}).get("steps", [])
        if panel["type"] == "stat":
            axes.axis("off")
            for i, (name, times, values) in enumerate(series):
                last = next((v for v in reversed(values) if not math.isnan(v)), None)
                color = [COLORS[s["color"]] for s in thresholds if s["value"] is None or last is not None and last >= s["value"]][-1]
                axes.plot(times, values, color=color, alpha=0.4)
                text = "No data" if last is None else formatted(last, default["unit"], default.get("decimals"))
                axes.text((i + 0.5) / len(series), 0.5, text, transform=axes.transAxes, fontsize=18, color=color, ha="center", va="center")
            if "min" in default:
                axes.set_ylim(bottom=default["min"])
        elif panel["type"] == "timeseries":
            self.lines(axes, panel, series, default, thresholds)
        else:
            raise ValueError(f"{panel['type']} is unknown: draw it")
        if not series:
            axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center")
        figure.tight_layout(pad=0.4)
        file = f"{self.folder}/{dashboard}-{panel['id']:02d}.png"
        figure.savefig(file)
        plt.close(figure)
        self.describe(dashboard, panel, series)
        return file

    def lines(self, axes, panel, series, default, thresholds):
        from matplotlib.ticker import FuncFormatter, MaxNLocator
        overrides = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"].get("overrides", [])}
        right = None
        for i, (name, times, values) in enumerate(series):
            own = overrides.get(name, {})
            target = axes
            if own.get("custom.axisPlacement") == "right":
                right = target = right or axes.twinx()
                right.yaxis.set_major_formatter(FuncFormatter(lambda v, _, u=own.get("unit", default["unit"]): formatted(v, u)))
                right.tick_params(labelsize=7)
            dates = [datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in times]
            color = PALETTE[i % len(PALETTE)]
            alone = [v if math.isnan(([math.nan] + values)[j]) and math.isnan((values + [math.nan])[j + 1]) else math.nan for j, v in enumerate(values)]
            target.plot(dates, values, color=color, linewidth=1, label=name)
            target.plot(dates, alone, ".", color=color, markersize=3)
            axes.plot([], [], color=color, label=name) if target is right else None
            target.fill_between(dates, values, color=color, alpha=0.1)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=default.get("decimals") == 0))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: "" if default.get("decimals") == 0 and v % 1 else formatted(v, default["unit"], default.get("decimals"))))
        axes.set_ylim(bottom=default.get("min"), top=default.get("max"))
        if right:
            right.set_ylim(bottom=default.get("min"))
        if default.get("custom", {}).get("thresholdsStyle"):
            for step in thresholds[1:]:
                axes.axhline(step["value"], color=COLORS[step["color"]], linestyle="--", linewidth=0.7)
        axes.set_xlim(*(datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in (self.start, self.end)))
        axes.set_xticks([datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in range(self.start, self.end, 60)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 86400 - self.start:.0f} s"))
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        if series:
            axes.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=3, frameon=False)

    def describe(self, dashboard, panel, series):
        """Notes what a person may not see: series of the same name, and the values."""
        unit, decimals = (panel["fieldConfig"]["defaults"].get(k) for k in ("unit", "decimals"))
        self.report.append(f"{dashboard}-{panel['id']:02d} {panel['title']} ({len(series)} series)")
        for name, count in collections.Counter(s[0] for s in series).items():
            if count > 1:
                self.report.append(f"    DUPLICATE {name}: {count} series")
        for name, _, values in series:
            known = [v for v in values if not math.isnan(v)]
            if known:
                low, high, last = (formatted(v, unit, decimals) for v in (min(known), max(known), known[-1]))
                self.report.append(f"    {name}: {low} to {high}, last {last}, {len(known)} of {len(values)} points")
            else:
                self.report.append(f"    EMPTY {name}")

    def all(self):
        from PIL import Image, ImageDraw
        for file in sorted(glob.glob(HERE + "/dashboards/*.json")):
            with open(file) as text:
                dashboard = json.load(text)
            name = os.path.basename(file)[:-5]
            variables = {v["name"]: v.get("allValue", "") for v in dashboard["templating"]["list"]}
            panels = dashboard["panels"]
            height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
            sheet = Image.new("RGB", (24 * COLUMN, height * ROW), "white")
            for panel in panels:
                at = panel["gridPos"]["x"] * COLUMN + 4, panel["gridPos"]["y"] * ROW + 4
                if panel["type"] == "row":
                    ImageDraw.Draw(sheet).text((at[0], at[1] + 8), panel["title"].upper(), fill="black")
                else:
                    sheet.paste(Image.open(self.panel(name, panel, variables)), at)
            sheet.quantize(200).save(f"{self.folder}/{name}.png", optimize=True)
        with open(self.folder + "/report.txt", "w") as out:
            out.write("\n".join(self.report) + "\n")

if __name__ == "__main__":
    if sys.argv[1] == "config":
        config(*sys.argv[2:])
    else:
        Draw(*sys.argv[2:]).all()
