-- Statements around the views that are published. `views.<what>` stands for a configured name, put there checked and quoted.

-- name: refresh
-- Bring all six views to the state of this transaction's snapshot.
select utils_statistics.refresh_snapshot_views()
