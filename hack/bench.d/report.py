"""The figures of hack/bench as a table and as a picture.

A row is (context, measure, {runtime: value}), value being microseconds, KiB or a
number; `floors` says what each runtime's value is divided by.
"""

COLOURS = {"floor": "#9aa0a6", "rt": "#c2410c", "crun": "#2563eb", "runc": "#0d9488", "youki": "#7c3aed"}
SPARE_COLOUR = "#4b5563"


def show_value(unit, value):
    if unit == "us":
        return f"{value / 1000:.2f} ms"
    if unit == "fine us":
        return f"{value:.0f} us"
    if unit == "KiB":
        return f"{value / 1024:.1f} MiB"
    return f"{value:.0f}"


def table(rows, runtimes):
    """The rows as text: value and ratio to the floor, a column for each runtime."""
    lines = [["", "", *runtimes]]
    for row in rows:
        line = [row["context"], row["measure"]]
        for runtime in runtimes:
            value = row["values"].get(runtime)
            if value is None:
                line.append("-")
                continue
            cell = show_value(row["unit"], value)
            floor = row["floors"].get(runtime)
            if floor and runtime != "floor":
                cell += f" {value / floor:6.2f}x"
            line.append(cell + ("*" if runtime in row["marked"] else " "))
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        left = [line[i].ljust(widths[i]) for i in range(2)]
        right = [line[i].rjust(widths[i]) for i in range(2, len(line))]
        text.append("  ".join(left + right).rstrip())
    return "\n".join(text)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def picture(rows, runtimes, title):
    """The rows as an SVG: one panel of bars for each row, each to its own scale."""
    panel_width, label_width, bar_height, gap = 440, 56, 16, 4
    panels = []
    column_height = [48, 48]
    for row in rows:
        present = [runtime for runtime in runtimes if runtime in row["values"]]
        column = 0 if column_height[0] <= column_height[1] else 1
        x, y = 16 + column * panel_width, column_height[column]
        largest = max(row["values"][runtime] for runtime in present)
        parts = [f'<text class="head" x="{x}" y="{y + 12}">{escape(row["context"])} {escape(row["measure"])}</text>']
        for i, runtime in enumerate(present):
            value = row["values"][runtime]
            top = y + 20 + i * (bar_height + gap)
            length = max(1.0, value / largest * (panel_width - label_width - 150))
            caption = show_value(row["unit"], value)
            floor = row["floors"].get(runtime)
            if floor and runtime != "floor":
                caption += f", {value / floor:.1f}x"
            if runtime in row["marked"]:
                caption += " *"
            colour = COLOURS.get(runtime, SPARE_COLOUR)
            parts.append(
                f'<text class="name" x="{x + label_width - 6}" y="{top + 12}">{escape(runtime)}</text>'
                f'<rect x="{x + label_width}" y="{top}" width="{length:.1f}" height="{bar_height}" fill="{colour}"/>'
                f'<text x="{x + label_width + length + 5:.1f}" y="{top + 12}">{caption}</text>')
        panels.append("\n".join(parts))
        column_height[column] = y + 20 + len(present) * (bar_height + gap) + 16
    width, height = 16 + 2 * panel_width, max(column_height)
    if any(row["marked"] for row in rows):
        panels.append(f'<text x="16" y="{height + 4}">* without the device program, which this runtime '
                      "could not load here; divided by a floor without it</text>")
        height += 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        "<style>text { font: 12px sans-serif; fill: #1f2937 } .head { font-weight: bold } .name { text-anchor: end }"
        " .title { font-size: 15px; font-weight: bold }</style>\n"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f'<text class="title" x="16" y="26">{escape(title)}</text>\n' + "\n".join(panels) + "\n</svg>\n")
