"""Finds the hands in one picture: proposes crops, predicts the hands in them, and judges the results.

The modules, in the order in which a photo passes through them (docs/how-it-predicts.md): `search` asks the `finder` for
regions; `crop_predictor` runs the pose network on crops of them, each of which gives a `crop_result`; `touch_up`
corrects the joints with the landmark network (`landmarks`) and the fusion network (`fusion`); `faces` removes hands
that are faces; `hand_detector` finds hands with the palm detector (`palms`); `second_opinions` and `sweep` predict
again where the result is doubtful. `photo_search` runs all of it; `people` searches for the hands of other people.
Frames of videos pass through some of these steps in `frame_search`.
"""
