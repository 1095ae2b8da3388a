//! gust-buildkite
