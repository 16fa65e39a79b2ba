"""Meshes that a reader can turn, in the built book too: no kernel, no network, a still picture without scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import trimesh
from IPython.display import HTML, display
from PIL import Image

from wavelab.errors import InvalidInput
from wavelab.shapes.render import WOOD, shaded
from wavelab.shapes.tsdf import surface

_TOGETHER = 6  # shapes that fit into one row


def turntable(volumes: Mapping[str, np.ndarray], alt: str, *, size: int = 200, zoom: float = 1.0) -> None:
    """Display shapes side by side that turn when they are dragged, or by the arrow keys.

    Args:
        volumes: signed distances ``(n, n, n)`` by title; see :func:`wavelab.shapes.render.shaded`.
        alt: a text alternative; the titles are added.
        size: side of each view in CSS pixels, less where the page is narrow.
        zoom: larger shows less of the cube.

    Raises:
        InvalidInput: no shape or more than fit into a row, no text alternative, or a volume without a surface.
    """
    if not 1 <= len(volumes) <= _TOGETHER:
        raise InvalidInput(f"{len(volumes)} shapes were given; one to {_TOGETHER} fit into a row.")
    if not alt or not alt.strip():
        raise InvalidInput("A view needs a text alternative: turntable(volumes, alt='what it shows').")
    views = [_view(title, values, alt, size, zoom) for title, values in volumes.items()]
    name = "turntable-" + uuid5(NAMESPACE_URL, alt + "".join(views)).hex[:10]
    display(HTML(_PAGE.replace("NAME", name).replace("VIEWS", "".join(views)).replace("SIZE", str(size))))


def packed(mesh: trimesh.Trimesh) -> tuple[str, str]:
    """Return vertices as 16-bit shares of [-1, 1] and faces as 32-bit numbers, both in base 64."""
    vertices = np.round(np.clip(mesh.vertices, -1, 1) * 32767).astype("<i2")
    return base64.b64encode(vertices.tobytes()).decode(), base64.b64encode(mesh.faces.astype("<u4").tobytes()).decode()


def _view(title: str, values: np.ndarray, alt: str, size: int, zoom: float) -> str:
    vertices, faces = packed(surface(values, title))
    buffer = io.BytesIO()
    still = Image.fromarray((255 * shaded(values, size=2 * size, zoom=zoom)).round().astype(np.uint8))
    still.save(buffer, "PNG")
    words = escape(f"{alt} ({title})", quote=True)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img class="dark-light" src="data:image/png;base64,{picture}" alt="{words}">'
        f'<canvas hidden tabindex="0" role="img" aria-label="{words}; arrow keys turn it" data-zoom="{zoom}" '
        f'data-vertices="{vertices}" data-faces="{faces}"></canvas><figcaption>{escape(title)}</figcaption></figure>'
    )


_COLOUR = ",".join(f"{c:.3f}" for c in WOOD)
_PAGE = (
    """<div class="turntable" id="NAME"><style>
#NAME{display:flex;flex-wrap:wrap;gap:.5rem;justify-content:center}
#NAME figure{margin:0;text-align:center;flex:0 1 SIZEpx;min-width:6rem}
#NAME img,#NAME canvas{width:100%;aspect-ratio:1;touch-action:pan-y;cursor:grab;background:none}
#NAME [hidden]{display:none} #NAME figcaption{font-size:.85em;text-align:center}
</style>VIEWS<script>(() => {
const VERTEX = `#version 300 es
in vec3 place, normal; uniform mat3 turn; uniform float reach; out vec3 n;
void main() { vec3 p = turn * place / reach; n = turn * normal; gl_Position = vec4(p.xy, -p.z * 0.5, 1.0); }`;
const PIXEL = `#version 300 es
precision highp float; in vec3 n; out vec4 colour;
void main() { vec3 m = normalize(n);
  float light = 0.25 + 0.75 * max(dot(m, normalize(vec3(.35, .75, .55))), 0.)
    + 0.25 * max(dot(m, normalize(vec3(-.7, .25, .4))), 0.);
  colour = vec4(min(vec3(COLOUR) * light, 1.), 1.); }`;
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
function normals(p, f) {
  const n = new Float32Array(p.length);
  for (let k = 0; k < f.length; k += 3) {
    const [a, b, c] = [3 * f[k], 3 * f[k + 1], 3 * f[k + 2]];
    const u = [0, 1, 2].map(i => p[b + i] - p[a + i]), v = [0, 1, 2].map(i => p[c + i] - p[a + i]);
    const w = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const at of [a, b, c]) for (let i = 0; i < 3; i++) n[at + i] += w[i];
  }
  return n;
}
function start(canvas) {
  const gl = canvas.getContext("webgl2", {antialias: true, alpha: true, preserveDrawingBuffer: true});
  if (!gl) return false;
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, PIXEL]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
  gl.useProgram(program); gl.enable(gl.DEPTH_TEST);
  const places = Float32Array.from(new Int16Array(bytes(canvas.dataset.vertices)), v => v / 32767);
  const faces = new Uint32Array(bytes(canvas.dataset.faces));
  for (const [name, data] of [["place", places], ["normal", normals(places, faces)]]) {
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at); gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
  }
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
  gl.uniform1f(gl.getUniformLocation(program, "reach"), 1.247 / Number(canvas.dataset.zoom));
  let azimuth = 35, elevation = 22;
  const draw = () => {
    const side = Math.round(canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1));
    canvas.width = canvas.height = side || 400; gl.viewport(0, 0, canvas.width, canvas.height);
    const [a, e] = [azimuth, elevation].map(d => d * Math.PI / 180);
    const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false,
      [ca, -sa * se, sa * ce, 0, ce, se, -sa, -ca * se, ca * ce]);
    gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.drawElements(gl.TRIANGLES, faces.length, gl.UNSIGNED_INT, 0);
  };
  const by = (right, up) => {
    azimuth -= right; elevation = Math.max(-89, Math.min(89, elevation + up)); draw();
  };
  canvas.addEventListener("pointerdown", event => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", event => {
    if (event.buttons) by(event.movementX * 0.6, event.movementY * 0.6);
  });
  canvas.addEventListener("keydown", event => {
    const way = {ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10]}[event.key];
    if (way) { by(...way); event.preventDefault(); }
  });
  canvas.hidden = false; canvas.previousElementSibling.hidden = true; draw(); window.addEventListener("resize", draw);
  return true;
}
const canvases = [...document.getElementById("NAME").querySelectorAll("canvas")];
const watch = new IntersectionObserver(seen => {
  for (const {isIntersecting, target} of seen) if (isIntersecting) {
    const [still, canvas] = target.querySelectorAll("img, canvas");
    watch.unobserve(target);
    if (!start(canvas)) { canvas.hidden = true; still.hidden = false; }
  }
});
for (const canvas of canvases) watch.observe(canvas.parentElement);
})();</script></div>"""
).replace("COLOUR", _COLOUR)
