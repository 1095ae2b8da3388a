//! gust-loadtest
