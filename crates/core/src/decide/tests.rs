use super::decide;
