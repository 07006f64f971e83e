"""The tables, in Markdown."""

import math
import statistics

# Their noise was drawn before the clock started: less work than ours
LESS_WORK = "noise given"


def machine(name, flags, rows):
    print(f"{name}; {', '.join(flags)}\n")
    print("| library | version | threads | instructions |\n|---|---|--:|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def rates(measured):
    """Prints the products of all peers; returns each peer's ceiling, the best of its medians."""
    shapes = list(dict.fromkeys(shape for rounds in measured.values() for shape in rounds[0]))
    print("\n| matrix product, GFLOP/s: median (best) | " + " | ".join(measured) + " |")
    print("|---|" + "--:|" * len(measured))
    for shape in shapes:
        cells = []
        for rounds in measured.values():
            values = [rates[shape] for rates in rounds if shape in rates]
            cells.append(f"{statistics.median(values):.0f} ({max(values):.0f})" if values else "")
        print(f"| {shape} | {' | '.join(cells)} |")
    return {
        peer: max(statistics.median(rates[shape] for rates in rounds) for shape in rounds[0])
        for peer, rounds in measured.items()
    }


def loops(measured, ceilings):
    """Prints every way; returns the fastest of each loop that does all the work: seconds, peer and way."""
    print("\n| loop | how | median ms | best ms | GFLOP/s | of its products' best |\n|---|---|--:|--:|--:|--:|")
    fastest = {}
    for (name, peer, way), samples in measured.items():
        if not samples:
            continue
        seconds = [sample.seconds for sample in samples]
        middle = statistics.median(seconds)
        gflops = statistics.median(sample.flop / sample.seconds / 1e9 for sample in samples)
        print(
            f"| {name} | {peer}: {way} | {1e3 * middle:.1f} | {1e3 * min(seconds):.1f} | {gflops:.0f} "
            f"| {100 * gflops / ceilings[peer]:.0f} % |"
        )
        for part in samples[0].parts:
            share = statistics.median(sample.parts[part] for sample in samples)
            print(f"| | - {part} | {1e3 * share:.1f} | | | |")
        if LESS_WORK not in way:
            fastest[name] = min(fastest.get(name, (math.inf, "", "")), (middle, peer, way))
    return fastest


def best(fastest):
    print("\n| loop | best peer | ms |\n|---|---|--:|")
    for name, (seconds, peer, way) in fastest.items():
        print(f"| {name} | {peer}: {way} | {1e3 * seconds:.1f} |")


def comparison(own, fastest):
    """Ours beside the best peer. `own` has what our program wrote in each round."""
    peak = own[0].get("peak")
    if peak:
        limit, of = statistics.median(run["peak"] for run in own), "the machine's peak"
    else:
        # the products that it measures in the same run
        shapes = range(len(own[0]["ceiling"]))
        limit, of = max(statistics.median(run["ceiling"][i]["median"] for run in own) for i in shapes), "our ceiling"
    if own[0].get("instructions"):
        print(f"\nOurs computes with {own[0]['instructions']}.")
    print(f"\n| loop | ours, ms | of {of} ({limit:.0f}) | best peer, ms | best peer / ours |\n|---|--:|--:|--:|--:|")
    for index, loop in enumerate(own[0]["loops"]):
        name = loop["name"]
        if name not in fastest:
            continue
        median = statistics.median(run["loops"][index]["median"] for run in own)
        gflops = statistics.median(run["loops"][index]["gflops"] for run in own)
        seconds, peer, way = fastest[name]
        print(
            f"| {name} | {1e3 * median:.1f} | {100 * gflops / limit:.0f} % "
            f"| {1e3 * seconds:.1f} ({peer}: {way}) | {seconds / median:.2f} |"
        )
