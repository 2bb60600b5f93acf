"""Draws what the benchmarks measured: plots.py KIND RESULTS PICTURE."""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TOOLS = ["backstay", "pg_basebackup --incremental", "pgBackRest (block)"]


def rows(path):
    with open(path, encoding="ascii") as lines:
        return [line.split() for line in lines if line.strip()]


def delta(results):
    """Seconds, bytes read and bytes stored against the share of changed rows."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for line, pattern in enumerate(["scattered", "clustered"]):
        found = [row for row in results if row[1] == pattern]
        shares = [float(row[0]) for row in found]
        for column, (what, scale) in enumerate([("seconds", 1), ("MB read", 1e6), ("MB stored", 1e6)]):
            axis = axes[line][column]
            for tool, name in enumerate(TOOLS):
                values = [float(row[2 + 3 * tool + column]) / scale for row in found]
                axis.plot(shares, values, marker="o", label=name)
            axis.set(xscale="log", yscale="log", xlabel="% of rows changed", ylabel=what, title=f"{pattern}: {what}")
            axis.grid(alpha=0.3)
    axes[0][0].legend()
    return figure


def size(results):
    """Seconds of a delta and of a full backup against the table's size."""
    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    sizes = [float(row[0]) / 1e6 for row in results]
    axis.plot(sizes, [float(row[1]) for row in results], marker="o", label="FULL")
    axis.plot(sizes, [float(row[2]) for row in results], marker="o", label="DELTA, 1,000 rows changed")
    axis.set(xscale="log", yscale="log", xlabel="MB in the table", ylabel="seconds", title="The same change in larger tables")
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def minutes(results):
    """Seconds and stored bytes of each delta in a row, and the objects in the vault."""
    figure, axes = plt.subplots(3, 1, figsize=(10, 9), sharex=True, layout="constrained")
    numbers = [int(row[0]) for row in results]
    for axis, column, what in zip(axes, [1, 2, 3], ["seconds", "MB stored", "objects in the vault"]):
        scale = 1e6 if column == 2 else 1
        axis.plot(numbers, [float(row[column]) / scale for row in results], linewidth=0.7)
        axis.set(ylabel=what)
        axis.grid(alpha=0.3)
    axes[0].set(title="Deltas in a row while pgbench runs")
    axes[-1].set(xlabel="delta")
    return figure


kind, source, picture = sys.argv[1:]
{"delta": delta, "size": size, "minutes": minutes}[kind](rows(source)).savefig(picture, dpi=110)
