// The documented way with axios: one client, with the documented names and nothing else.
import axios from "axios";

const api = axios.create({
  baseURL: "https://api.example.test",
  withCredentials: true,
  xsrfCookieName: "XSRF-TOKEN",
  xsrfHeaderName: "X-XSRF-TOKEN",
});

export const getSession = async () => (await api.get("/v1/auth/session")).data;
export const refresh = async () => (await api.post("/v1/auth/session/refresh")).status;
export const getDatasets = async () => (await api.get("/v1/datasets")).data;
export const createDataset = async (dataset) => (await api.post("/v1/datasets", dataset)).data;
export const logout = async () => (await api.post("/v1/auth/logout")).status;
