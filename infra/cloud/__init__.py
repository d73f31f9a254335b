"""The desk in the cloud: what there is to make, as values (pure), the policies that hold over it, and a thin Pulumi program.

Nothing here has ever been applied to a project; ``infra/docs/cloud.md`` says what was checked without one.
"""
