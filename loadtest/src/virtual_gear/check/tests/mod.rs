//! A good history passes; each invariant catches histories that are spoiled against it.

mod again;
mod callers;
mod history;
mod made;
mod orders;
mod reasons;
mod spoiled;
mod world;
