"""The hands in one picture: where to look, what is seen there, and what of it is believed.

In the order in which a photo goes through them (docs/how-it-predicts.md): `search` asks the `finder` for regions;
`looking` shows them to the pose network, which gives `looks`; `touch_up` mends these by what `landmarks` reads, as
`fusion` says; `seen_hands` spots hands by `palms`; `opinions` and `sweep` look again where that is in doubt. `finding`
is the whole of it; `people` asks for the hands of others.
"""
