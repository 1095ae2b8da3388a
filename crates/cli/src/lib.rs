//! gust-cli
