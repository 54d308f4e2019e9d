"""Gaits of the MuJoCo bodies: swinging torques, with feedback for bodies that fall.

The cross-entropy method found the numbers, in 10 to 40 rounds of 48 to 96 candidates. All candidates of a round played
in one batch as replicas. The score of a candidate was its return in a few training tasks, with more weight on the worse
ones, and the next round was drawn around the best tenth to sixth. The results are rounded. Time is in environment steps
and phase in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Swing:
    """Torques of all motors as sines of time."""

    frequency: float
    """Turns a step."""
    offset: Sequence[float]
    amplitude: Sequence[float]
    phase: Sequence[float]
    """Turns by which each motor leads."""

    def torques(self, t: int) -> np.ndarray:
        """Return [motor]."""
        turns = self.frequency * t + np.array(self.phase)
        return np.array(self.offset) + np.array(self.amplitude) * np.sin(2 * np.pi * turns)


@dataclass(frozen=True)
class Crawl:
    """Torques of an ant along its own +x. The right legs mirror the left ones, shifted in time.

    Legs are numbered by quarter turns from the front left one. Each moves as the one before would if it were turned.
    """

    frequency: float
    shift: float
    """Turns by which the right side leads."""
    front: Sequence[Sequence[float]]
    """Offset, amplitude and phase of the hip, then of the ankle."""
    back: Sequence[Sequence[float]]

    def torques(self, t: int, quarter: np.ndarray) -> np.ndarray:
        """Return [..., motor], the crawl turned left by `quarter` [...] quarter turns."""
        sides = [
            self._leg(self.front, t, 0),
            self._leg(self.back, t, 0),
            self._leg(self.back, t, 1),
            self._leg(self.front, t, 1),
        ]
        legs = np.array(sides)[(np.array(MOTOR_LEGS) - quarter[..., None]) % 4]
        return (legs * np.array([[1.0, sign] for sign in ANKLE_SIGNS])).reshape(*quarter.shape, 8)

    def _leg(self, joints: Sequence[Sequence[float]], t: int, right: int) -> tuple[float, float]:
        hip, ankle = (
            offset + amplitude * np.sin(2 * np.pi * (self.frequency * t + phase + right * self.shift))
            for offset, amplitude, phase in joints
        )
        return (-hip if right else hip), ankle


MOTOR_LEGS = (3, 0, 1, 2)
"""Leg of each pair of the ant's motors, numbered by quarter turns from the front left one."""
ANKLE_SIGNS = (1.0, 1.0, -1.0, -1.0)
"""Sign of each ankle, in the order of the motors: two of them turn the other way."""


@dataclass(frozen=True)
class Stride:
    """Torques that swing a hopper's leg, or a walker's two legs half a turn apart, and keep the body upright."""

    frequency: float
    gains: Sequence[Sequence[float]]
    """For thigh, leg and foot: offset (rad), amplitude (rad) and phase of the target angle; torque per rad of error;
    torque against each rad/s; torque per rad of the torso's pitch, per rad/s of pitch, and per m/s forward."""

    def torques(self, t: int, observations: np.ndarray) -> np.ndarray:
        """Return [..., motor] from observations [..., 11] of a hopper or [..., 17] of a walker."""
        motors = observations.shape[-1] // 2 - 2
        offset, amplitude, phase, spring, damper, lean, turn, speed = np.tile(self.gains, (motors // 3, 1)).T
        turns = self.frequency * t + phase + 0.5 * (np.arange(motors) // 3)
        pitch, forward, spin = (observations[..., [i]] for i in (1, 2 + motors, 4 + motors))
        angles, rates = observations[..., 2 : 2 + motors], observations[..., 5 + motors :]
        off = offset + amplitude * np.sin(2 * np.pi * turns) - angles
        return spring * off - damper * rates + lean * pitch + turn * spin + speed * forward


@dataclass(frozen=True)
class Balance:
    """Torques of a humanoid that holds its joints in their first position and leans in its direction."""

    spring: float
    """Torque per rad of error, for every motor."""
    damper: float
    """Torque against each rad/s, for every motor."""
    sagittal: Sequence[Sequence[float]]
    """For the abdomen's y, both hips' y and both knees: torque, then torque per rad of pitch, rad/s of pitch, m/s
    forward, and x of the direction."""
    lateral: Sequence[Sequence[float]]
    """For the abdomen's x and both hips' x: torque per rad of roll, rad/s of roll, m/s to the left, and y of the
    direction."""

    def torques(self, observations: np.ndarray, way: np.ndarray) -> np.ndarray:
        """Return [..., motor] from observations [..., 45 or more] and unit vectors of the plane [..., 2]."""
        w, x, y, z = np.moveaxis(observations[..., 1:5], -1, 0)
        forward, left, roll_rate, pitch_rate = (observations[..., i] for i in (22, 23, 25, 26))
        pitch, roll = 2 * (w * y - x * z), 2 * (w * x + y * z)
        motors = np.array(HUMANOID_JOINTS)
        torques = -self.spring * observations[..., 5 + motors] - self.damper * observations[..., 28 + motors]
        seen = np.stack(np.broadcast_arrays(1.0, pitch, pitch_rate, forward, way[..., 0]), axis=-1)
        abdomen, hip, knee = np.moveaxis(seen @ np.array(self.sagittal).T, -1, 0)
        seen = np.stack(np.broadcast_arrays(roll, roll_rate, left, way[..., 1]), axis=-1)
        abdomen_aside, hip_aside = np.moveaxis(seen @ np.array(self.lateral).T, -1, 0)
        nothing = 0.0 * abdomen
        legs = (hip_aside, nothing, hip, knee, -hip_aside, nothing, hip, knee)
        return torques + np.stack([abdomen, nothing, abdomen_aside, *legs, *[nothing] * 6], axis=-1)


HUMANOID_JOINTS = (1, 0, *range(2, 17))
"""Joint of each of the humanoid's motors."""


CHEETAH_FORWARD = Swing(
    0.21,
    offset=(-0.25, -0.04, -0.14, -0.08, 0.1, -0.07),
    amplitude=(0.36, 0.03, 0.8, 0.42, 0.64, 1.12),
    phase=(0.19, -0.59, -0.02, 0.11, 0.04, 0.09),
)
CHEETAH_BACKWARD = Swing(
    0.23,
    offset=(0.02, 0.18, -0.24, 0.07, -0.16, -0.07),
    amplitude=(0.45, 0.7, 0.33, 0.71, 0.96, 0.03),
    phase=(0.12, -0.02, 0.17, -0.1, 0.28, 0.33),
)
CHEETAH_STEADY = Swing(
    0.19,
    offset=(0.0, 0.07, -0.03, -0.06, -0.01, -0.1),
    amplitude=(0.17, 0.58, 0.39, 0.43, 0.57, 0.74),
    phase=(-0.25, 0.0, -0.21, 0.23, 0.16, 0.16),
)
"""Slower than `CHEETAH_FORWARD`, and stable under more physics."""
CHEETAH_SPEEDS = {
    0.0: Swing(0.0, (0.0,) * 6, (0.0,) * 6, (0.0,) * 6),
    0.75: Swing(
        0.14,
        offset=(-0.02, 0.05, 0.0, -0.11, 0.11, -0.08),
        amplitude=(-0.07, 0.43, 0.48, 0.37, 0.31, 0.7),
        phase=(0.25, -0.11, -0.17, 0.15, 0.05, 0.12),
    ),
    1.5: CHEETAH_STEADY,
    2.5: CHEETAH_FORWARD,
}
"""A cheetah's gait for each speed in m/s."""

ANT_CHEAP = Crawl(
    0.15,
    shift=0.51,
    front=((0.12, 0.26, 0.24), (0.11, 0.14, 0.01)),
    back=((-0.04, 0.29, 0.08), (-0.09, 0.08, 0.04)),
)
"""A gait of little torque."""
ANT_FAST = Crawl(
    0.1,
    shift=0.67,
    front=((0.0, 0.45, 0.09), (-0.03, 0.6, 0.04)),
    back=((-0.08, 0.39, 0.19), (-0.15, -0.01, 0.02)),
)

SWIMMER = Swing(0.03, offset=(0.0, 0.0), amplitude=(1.0, 1.0), phase=(0.0, 0.85))
"""A wave along the body with the best of a few frequencies and phases."""
SWIMMER_RUDDER = -1.5
"""Torque of both motors per rad that the body is off its course, the best of a few."""

HOPPER = Stride(
    0.024,
    (
        (-0.25, 0.16, 0.1, 0.39, 0.12, -0.43, -0.45, -0.1),
        (-0.16, 0.22, -0.36, 1.15, 0.04, -0.75, -0.2, -0.01),
        (0.33, 0.27, -0.18, 1.41, 0.12, -1.64, -0.11, 0.05),
    ),
)
WALKER = Stride(
    0.03,
    (
        (-0.22, 0.12, -0.1, 1.11, 0.08, -0.07, -0.04, -0.05),
        (-0.25, 0.0, -0.2, 1.12, 0.14, 0.78, -0.06, 0.02),
        (0.38, 0.0, -0.15, 1.01, 0.06, -1.07, 0.01, 0.0),
    ),
)

HUMANOID = Balance(
    spring=0.89,
    damper=0.07,
    sagittal=(
        (0.1, -0.06, 0.04, -0.16, -0.2),
        (-0.17, 0.06, 0.12, -0.23, 0.24),
        (0.5, -0.47, 0.02, 0.15, 0.11),
    ),
    lateral=((-0.21, 0.08, -0.12, 0.16), (0.05, 0.23, 0.0, -0.29)),
)
