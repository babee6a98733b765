// The assignment problem: which row goes with which column.

/**
 * Pair rows with columns so that the sum is the largest possible, by the Hungarian algorithm with potentials, O(n^3).
 * @param {number[][]} values a row of columns each
 * @returns {number[][]} pairs of row and column; as many as the shorter side has, none twice
 */
export function assign(values) {
  const [rows, columns] = [values.length, values[0]?.length ?? 0];
  if (!rows || !columns) return [];
  if (rows > columns) {
    const turned = values[0].map((_, column) => values.map((row) => row[column]));
    return assign(turned)
      .map(([column, row]) => [row, column])
      .sort((a, b) => a[0] - b[0]);
  }
  const ofRow = Array(rows + 1).fill(0); // potentials
  const ofColumn = Array(columns + 1).fill(0);
  const owner = Array(columns + 1).fill(0); // the row of each column, counted from 1; 0 is free
  for (let row = 1; row <= rows; row++) {
    const way = Array(columns + 1).fill(0);
    const slack = Array(columns + 1).fill(Infinity);
    const used = Array(columns + 1).fill(false);
    let column = 0;
    owner[0] = row;
    do {
      used[column] = true;
      let [delta, next] = [Infinity, 0];
      for (let j = 1; j <= columns; j++) {
        if (used[j]) continue;
        const cost = -values[owner[column] - 1][j - 1] - ofRow[owner[column]] - ofColumn[j];
        if (cost < slack[j]) [slack[j], way[j]] = [cost, column];
        if (slack[j] < delta) [delta, next] = [slack[j], j];
      }
      for (let j = 0; j <= columns; j++) {
        if (used[j]) {
          ofRow[owner[j]] += delta;
          ofColumn[j] -= delta;
        } else slack[j] -= delta;
      }
      column = next;
    } while (owner[column]);
    for (; column; column = way[column]) owner[column] = owner[way[column]];
  }
  const pairs = [];
  for (let j = 1; j <= columns; j++) if (owner[j]) pairs.push([owner[j] - 1, j - 1]);
  return pairs.sort((a, b) => a[0] - b[0]);
}
