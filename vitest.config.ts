import { defaultServerConditions } from "vite"
import { defineConfig } from "vitest/config"

// The package by its own name is the source here, and not what is built of it.
const ssr = { resolve: { conditions: ["truss-source", ...defaultServerConditions] } }

const ofProcesses = {
  // Dozens of processes on two cores: what fails once is said, and fails the run when it fails again.
  retry: 1,
  globalSetup: ["test/support/buildDashboard.ts", "test/support/globalSetup.ts"],
  testTimeout: 120_000,
  hookTimeout: 60_000
}

export default defineConfig({
  test: {
    // Much of what the tests do is waiting; on two cores one worker, which is the default there, would idle.
    maxWorkers: 2,
    projects: [
      {
        ssr,
        test: {
          name: "unit",
          include: ["test/{domain,cli,dashboard,faults}/**/*.test.ts", "test/*.test.ts"]
        }
      },
      {
        ssr,
        test: {
          name: "integration",
          include: ["test/{services,listener,http}/**/*.test.ts"],
          // On Bun the tests of a run share a process and two cores: what fails once is said, and fails if it fails again.
          retry: process.versions["bun"] === undefined ? 0 : 1,
          globalSetup: ["test/support/buildDashboard.ts", "test/support/globalSetup.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000
        }
      },
      {
        ssr,
        test: {
          name: "program",
          include: ["test/{program,security,browser,examples,package}/**/*.test.ts"],
          ...ofProcesses
        }
      },
      {
        ssr,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          ...ofProcesses
        }
      },
      {
        ssr,
        test: {
          name: "recovery",
          include: ["test/recovery/**/*.test.ts"],
          ...ofProcesses
        }
      }
    ]
  }
})
