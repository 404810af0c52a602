//! Ranking, conflicts and overlaps.
