import numpy as np
import pytest

from vlm2vla.simulation.pictures.camera import GRID, GRIPPER, NOTHING, PX, patches_of, shrink
from vlm2vla.simulation.pictures.layouts import make_layout, spot_on
from vlm2vla.simulation.pictures.moments import Moment, draw_errand, draw_moment, grasp_point
from vlm2vla.simulation.pictures.truth import describe
from vlm2vla.simulation.robot_body import FINGER_OPEN
from vlm2vla.simulation.scenes import COLOURS
from vlm2vla.simulation.tasks import make_task

AWAY = (0.36, -0.30, 1.05, 0.0)  # over the table's edge, out of everything's way


def layout_with(condition, start=0):
    return next(scene for scene in map(make_layout, range(start, start + 500)) if condition(scene))


def held(camera, scene, phase, seed=0):
    rng = np.random.default_rng(seed)
    errand = draw_errand(scene, rng)
    while True:
        moment = draw_moment(scene, errand, phase, rng, camera.finger_around)
        if camera.possible(moment):
            return moment


def test_things_are_seen_where_they_are_said_to_be(camera):
    for seed in range(3, 9):
        scene = make_layout(seed)
        camera.stage(scene)
        moment = Moment("random", AWAY, FINGER_OPEN)
        shot = camera.take(moment)
        view = describe(scene, moment, shot, camera, pair=False)
        assert shot.pixels.shape == (PX, PX, 3)
        grid = shot.patches.reshape(GRID, GRID)
        for index, thing in enumerate(view.things):
            rows, columns = np.nonzero(grid == index)
            assert thing.seen, thing.name
            assert len(rows), thing.name
            side = PX // GRID
            middle = np.array([columns.mean(), rows.mean()]) * side + side / 2
            assert np.abs(middle - [thing.u_px, thing.v_px]).max() < 1.2 * side, thing.name


def test_pixels_under_a_label_have_the_colour_of_the_thing(camera):
    scene = layout_with(lambda scene: {"bowl", "plate"} & {thing.kind for thing in scene.objects})
    camera.stage(scene)
    moment = Moment("random", AWAY, FINGER_OPEN)
    shot = camera.take(moment)
    for index, thing in enumerate(scene.objects):
        if thing.kind not in ("bowl", "plate"):
            continue
        where = np.kron((shot.patches == index).reshape(GRID, GRID), np.ones((PX // GRID,) * 2, dtype=bool))
        seen = np.median(shot.pixels[where].astype(float), axis=0)
        shades = {name: np.array(rgb) / np.linalg.norm(rgb) for name, rgb in COLOURS.items()}
        nearest = sorted(shades, key=lambda name: -float(shades[name] @ seen) / np.linalg.norm(seen))[:3]
        assert thing.colour in nearest, (thing.name, nearest, seen)


@pytest.mark.parametrize("phase", ["around", "lifted", "carried"])
def test_fingers_close_around_what_is_held(camera, phase):
    scene = layout_with(lambda scene: len(scene.graspable) == 2)
    camera.stage(scene)
    moment = held(camera, scene, phase)
    thing = scene.find(moment.holding)
    spot = moment.spot(scene, thing)
    away = np.array(moment.ee[:3]) - grasp_point(scene, thing, spot)
    assert np.abs(away[:2]).max() < 0.02
    assert abs(away[2]) < 0.016
    widths = [thing.size_m[1], 0.9 * thing.size_m[1], 0.4 * thing.size_m[1]]
    low, high = camera.finger_around(widths[2]), camera.finger_around(widths[0])
    assert low <= moment.finger <= high < FINGER_OPEN
    raised = spot.z - scene.table_height_m - thing.size_m[2] / 2
    assert abs(raised) < 0.001 if phase == "around" else raised > 0.003


def test_a_hand_inside_a_thing_is_not_possible(camera):
    scene = layout_with(lambda scene: any(thing.kind == "can" for thing in scene.objects))
    camera.stage(scene)
    can = next(thing for thing in scene.objects if thing.kind == "can")
    over = (*can.position, scene.table_height_m + 0.05, 0.0)
    assert camera.possible(Moment("descend", over, FINGER_OPEN))
    beside = (can.position[0], can.position[1] + 0.05, scene.table_height_m + 0.05, 0.0)
    assert not camera.possible(Moment("descend", beside, FINGER_OPEN))  # one finger in the can
    assert not camera.possible(Moment("random", (0.6, 0.0, scene.table_height_m - 0.03, 0.0), FINGER_OPEN))
    assert not camera.possible(Moment("random", (2.0, 0.0, 1.0, 0.0), FINGER_OPEN))  # longer than the arm


def test_what_lies_in_a_container_is_said_to(camera):
    scene = layout_with(lambda scene: scene.containers and scene.graspable)
    camera.stage(scene)
    thing, place = scene.graspable[0], scene.containers[0]
    spot = spot_on(scene, thing, place, np.random.default_rng(1))
    moment = Moment("random", AWAY, FINGER_OPEN, "", {thing.name: spot})
    view = describe(scene, moment, camera.take(moment), camera, pair=False)
    assert view.things[0].on == place.name
    assert all(other.on == "table" for other in view.things[1:])


def test_a_thing_next_to_a_card_is_beside_it_until_it_is_lifted(camera):
    scene, task = make_task("pick-up-reference", 7, reference="picture")
    camera.stage(scene)
    resting = Moment("random", AWAY, FINGER_OPEN)
    view = describe(scene, resting, camera.take(resting), camera, pair=False)
    target = next(thing for thing in view.things if thing.name == task.target)
    assert target.beside == scene.find(task.target).beside != ""


def test_hidden_links_are_out_of_the_picture_anyway(camera):
    """The parts of the robot that are not drawn would change no more than rounding does."""
    rng = np.random.default_rng(5)
    for seed in range(20, 26):
        scene = make_layout(seed)
        camera.stage(scene)
        moment = draw_moment(scene, draw_errand(scene, rng), "random", rng, camera.finger_around)
        without = shrink(camera.take(moment).jpeg).astype(int)
        groups = camera._model.geom_group[camera._unseen].copy()
        camera._model.geom_group[camera._unseen] = camera._blank.geom_group[camera._unseen]
        whole = shrink(camera.take(moment).jpeg).astype(int)
        camera._model.geom_group[camera._unseen] = groups
        assert np.abs(whole - without).max() <= 4


def test_patches_belong_to_what_covers_most_and_small_things_keep_one():
    labels = np.full((PX, PX), NOTHING)
    side = PX // GRID
    labels[:side, :side] = GRIPPER
    labels[: side // 2, : side - 4] = 3  # less than half of the first patch
    labels[0:side, 5 * side : 6 * side] = 3
    labels[2 * side - 3 : 2 * side + 3, 2 * side - 3 : 2 * side + 3] = 5  # 9 pixels in each of four patches
    patches = patches_of(labels).reshape(GRID, GRID)
    assert patches[0, 0] == GRIPPER
    assert patches[0, 5] == 3
    assert patches[0, 1] == NOTHING
    assert (patches == 5).sum() == 0  # 9 of 484 pixels are too few
    labels[2 * side - 3 : 2 * side + 8, 2 * side - 3 : 2 * side + 3] = 5  # up to 24 pixels
    assert (patches_of(labels) == 5).sum() == 1
    labels[0:side, 5 * side : 6 * side] = NOTHING
    assert patches_of(labels)[0] == 3  # otherwise it would be nowhere
