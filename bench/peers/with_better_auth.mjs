// Verifies keys with better-auth's plugin for API keys and SQLite, as its documentation begins: for `compare.py`.
import { createInterface } from "node:readline";
import { apiKey } from "@better-auth/api-key";
import Database from "better-sqlite3";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";

const database = new Database(process.argv[2]);
database.pragma("journal_mode = WAL");
const auth = betterAuth({
  database,
  secret: "a secret of the bench, long enough for it",
  baseURL: "http://localhost",
  emailAndPassword: { enabled: true },
  logger: { disabled: true },
  // Its default lets ten requests of a key pass in a day.
  plugins: [apiKey({ rateLimit: { enabled: false } })],
});
await (await getMigrations(auth.options)).runMigrations();
const { user } = await auth.api.signUpEmail({
  body: { email: "bench@example.com", password: "a password of the bench", name: "bench" },
});
const { key } = await auth.api.createApiKey({ body: { name: "bench", userId: user.id } });

async function verify() {
  const { valid } = await auth.api.verifyApiKey({ body: { key } });
  if (!valid) throw new Error("the key was not accepted");
}

await verify();
for await (const line of createInterface({ input: process.stdin })) {
  const before = process.cpuUsage();
  for (let count = Number(line); count > 0; count -= 1) await verify();
  const { user: own, system } = process.cpuUsage(before);
  console.log((own + system) / 1e6);
}
