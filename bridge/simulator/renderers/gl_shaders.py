"""GLSL programs of the OpenGL renderer: samples of a sub-frame, and their means as pixels."""

from __future__ import annotations

from bridge.simulator.renderers.lighting import GAMMA

MAX_LAMPS = 8

VERTEX = """
#version 330 core
uniform mat4 to_camera;
uniform mat4 to_screen;
in vec3 vertex;
in vec3 normal;
in vec2 uv;
in vec3 tint;
out vec3 place;
out vec3 facing;
out vec2 texture_place;
out vec3 colour;
void main() {
    vec4 camera = to_camera * vec4(vertex, 1.0);
    place = camera.xyz;
    facing = mat3(to_camera) * normal;
    texture_place = vec2(uv.x, 1.0 - uv.y);
    colour = tint;
    gl_Position = to_screen * camera;
}
"""

_CONSTANTS = f"""
const float GAMMA = {GAMMA};
const int MAX_LAMPS = {MAX_LAMPS};
"""

_SHADING = """
uniform sampler2D picture;
#ifdef HOLES
uniform sampler2D holes;
#endif
uniform float ambient;
uniform int lamp_count;
uniform vec4 lamps[MAX_LAMPS];
uniform bool linear;
in vec3 place;
in vec3 facing;
in vec2 texture_place;
in vec3 colour;
out vec4 sample_colour;

// The version with about one texel per sample: by areas, so that slanted surfaces stay sharp.
float mip_level() {
    vec2 size = vec2(textureSize(picture, 0));
    vec2 right = dFdx(texture_place) * size;
    vec2 down = dFdy(texture_place) * size;
    return 0.5 * log2(max(abs(right.x * down.y - right.y * down.x), 1.0));
}

float light() {
    vec3 normal = normalize(gl_FrontFacing ? facing : -facing);
    float total = ambient;
    for (int i = 0; i < lamp_count; i++) {
        vec3 towards = lamps[i].xyz - place;
        float squared = dot(towards, towards);
        total += lamps[i].w * max(dot(normal, towards), 0.0) / (squared * sqrt(squared));
    }
    return total;
}

void main() {
    float level = mip_level();
#ifdef HOLES
    if (textureLod(holes, texture_place, level).a < 127.5 / 255.0) discard;
#endif
    vec3 texel = textureLod(picture, texture_place, level).rgb;
    vec3 shown = min(texel * colour * pow(light(), 1.0 / GAMMA), 1.0);
    if (linear) shown = pow(shown, vec3(GAMMA));
    sample_colour = vec4(shown, 1.0);
}
"""

FRAGMENT = "#version 330 core" + _CONSTANTS + _SHADING
FRAGMENT_WITH_HOLES = "#version 330 core\n#define HOLES" + _CONSTANTS + _SHADING

WHOLE_SCREEN = """
#version 330 core
void main() {
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""

MEAN_OF_SAMPLES = """
#version 330 core
uniform sampler2D samples;
out vec4 pixel;
void main() {
    vec4 sum = vec4(0.0);
    for (int i = 0; i < 4; i++)
        sum += texelFetch(samples, 2 * ivec2(gl_FragCoord.xy) + ivec2(i % 2, i / 2), 0);
    pixel = 0.25 * sum;
}
"""
