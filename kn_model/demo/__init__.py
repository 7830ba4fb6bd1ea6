"""The main job from end to end, as `task demo` runs it; the acceptance tests take the same steps."""
