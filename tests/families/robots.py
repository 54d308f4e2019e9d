"""A hopper with files of its own: an included file, a mesh, a height field's picture and a texture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import gymnasium

HOPPER = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "hopper.xml"
PARTS = """<mujoco>
  <asset>
    <mesh name="foot" file="legs/foot.stl"/>
    <texture name="skin" type="2d" file="skin.png"/>
    <material name="skin" texture="skin"/>
  </asset>
</mujoco>
"""
FAMILY = """
env: Hopper-v5
arguments: {xml_file: robots/hopper.xml}
varies:
  reset_noise_scale: {train: {uniform: [0.001, 0.01]}}
horizon: 20
"""


def write_robot(folder: Path, *, foot_mass: float = 5.0) -> Path:
    """Write the robot into `folder`/robots and `folder`/assets, a family file beside them, and return its path."""
    robots, meshes, textures = folder / "robots", folder / "assets" / "meshes", folder / "assets" / "textures"
    for each in (robots, meshes / "legs", textures):
        each.mkdir(parents=True, exist_ok=True)
    text = HOPPER.read_text()
    text = text.replace("<compiler ", '<compiler meshdir="../assets/meshes" texturedir="../assets/textures" ', 1)
    text = text.replace("<worldbody>", '<include file="parts.xml"/>\n<worldbody>', 1)
    text = text.replace('name="foot_geom"', f'name="foot_geom" mass="{foot_mass}"', 1)
    where = text.index("</body>")
    visual = '<geom type="mesh" mesh="foot" material="skin" contype="0" conaffinity="0" mass="0"/>'
    (robots / "hopper.xml").write_text(text[:where] + visual + text[where:])
    (robots / "parts.xml").write_text(PARTS)
    (meshes / "legs" / "foot.stl").write_bytes(_tetrahedron())
    (textures / "skin.png").write_bytes(_png())
    path = folder / "my-hopper.yaml"
    path.write_text(FAMILY)
    return path


def _tetrahedron() -> bytes:
    a, b, c, d = (0, 0, 0), (0.1, 0, 0), (0, 0.1, 0), (0, 0, 0.1)
    faces = [(a, c, b), (a, b, d), (a, d, c), (b, c, d)]
    rows = (struct.pack("<12fH", 0, 0, 0, *(x for corner in face for x in corner), 0) for face in faces)
    return b"\0" * 80 + struct.pack("<I", len(faces)) + b"".join(rows)


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 50, 50] * 4) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
