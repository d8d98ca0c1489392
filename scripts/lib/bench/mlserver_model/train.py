"""Trains scikit-learn's forest of the same size on the same data.

Usage: train.py boston.csv model.joblib
"""

import sys

import joblib
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

data = pd.read_csv(sys.argv[1])
model = RandomForestRegressor(n_estimators=100, random_state=100, n_jobs=1)
model.fit(data.drop(columns="medv").to_numpy(), data["medv"].to_numpy())
joblib.dump(model, sys.argv[2])
