// What the application keeps for its users.
export const notes = { alice: ["Feed the cat", "Answer the Queen"], bob: ["Order a crane"] };
